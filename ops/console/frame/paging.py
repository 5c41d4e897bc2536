"""Paging: a long list in parts, by the number in the address."""

from __future__ import annotations

from typing import Any

from aiohttp import web

ENTRIES = 40


def paged(request: web.Request) -> dict[str, Any]:
    """Which part is asked for; the first where the number is none."""
    given = request.query.get("page", "1")
    number = int(given) if given.isascii() and given.isdigit() and 0 < len(given) < 7 else 1
    number = max(1, number)
    return {"start": (number - 1) * ENTRIES, "page_entries": ENTRIES, "number": number}
