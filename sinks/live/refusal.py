"""Refusal: what a live feed does not answer, why, and what to do; as plain text, for whoever tries it by hand."""

from __future__ import annotations

import math

from aiohttp import web


class LiveRefusal(Exception):
    """Raised where it is found; the server tells it."""

    def __init__(self, status: int, why: str, fix: str) -> None:
        super().__init__(why)
        self.status, self.why, self.fix = status, why, fix


def refused(status: int, why: str, fix: str) -> web.Response:
    """The answer that tells it."""
    return web.Response(status=status, text=f"{why}\n  fix: {fix}\n", headers={"Cache-Control": "no-store"})


def busy(why: str, wait_seconds: float, status: int = 429) -> web.Response:
    """The answer to what will do later."""
    seconds = max(1, math.ceil(wait_seconds))
    answer = refused(status, why, f"ask again in {seconds} s")
    answer.headers["Retry-After"] = str(seconds)
    return answer


def number(request: web.Request, name: str, default: float, least: float, most: float) -> float:
    """A number in the query. Raises LiveRefusal."""
    try:
        value = float(request.query.get(name, default))
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        fix = f"leave it out, or write {name}={least:g}"
        raise LiveRefusal(400, f"{name} is no number from {least:g} to {most:g}", fix)
    return value
