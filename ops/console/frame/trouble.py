"""Trouble: what is said where a page cannot be shown; a page for people, a line for programs.

Two middlewares: the outer one sees to it that each browser has an id and that every refusal is explained; the inner one, behind the
guard, asks each form for its proof (CSRF).
"""

from __future__ import annotations

import logging
import math
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ops.console.frame.page import BROWSER, SECURITY, Pages, is_page_wanted
from ops.console.frame.session import COOKIE
from schemas.errors import MeshError, Transient
from schemas.trace import described

PROOF = "proof"
"""The field of a form that proves that it is ours."""
_logger = logging.getLogger(__name__)


class Shutting(web.Response):
    """A refusal for programs, of which `explained` makes a page for people."""

    def __init__(self, status: int, why: str, fix: str) -> None:
        super().__init__(status=status, text=f"refused: {why}; {fix}\n", headers=SECURITY)
        self.why, self.fix = why, fix


def shut(status: int, why: str, fix: str) -> web.Response:
    """A refusal, as the guard wants it."""
    return Shutting(status, why, fix)


class Refused(Exception):
    """A page that cannot be shown, or an act that cannot be done, for a reason that a person can mend."""

    def __init__(self, status: int, why: str, fix: str = "") -> None:
        super().__init__(why)
        self.status, self.why, self.fix = status, why, fix


def explained(pages: Pages) -> Middleware:
    """The outer middleware."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        known = request.cookies.get(COOKIE, "")
        request[BROWSER] = known or pages.sessions.new_id()
        try:
            told = await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            told = _told(pages, request, error.status, "", "")
        except Refused as error:
            told = _told(pages, request, error.status, error.why, error.fix)
        except MeshError as error:
            status = 503 if isinstance(error, Transient) else 409
            told = _told(pages, request, status, error.problem, error.fix)
        except Exception as error:  # noqa: BLE001 - answered as an error of this process
            # Neither the question nor the error's text, which may quote it or a row.
            _logger.error("console: %s: %s", request.match_info.route.resource, described(error))  # noqa: TRY400
            told = _told(pages, request, 500, "", "")
        if isinstance(told, Shutting) and is_page_wanted(request):
            told = _as_page(pages, request, told)
        if not known and not told.prepared:
            pages.keep_browser(told, request[BROWSER])
        return told

    return answer


def _told(pages: Pages, request: web.Request, status: int, why: str, fix: str) -> web.StreamResponse:
    words = pages.words(request)
    if not is_page_wanted(request):
        return shut(status, why or words(f"trouble.{_known(status)}"), fix or words(f"trouble.{_known(status)}_fix"))
    return pages.page(request, "trouble.html", status, code=_known(status), number=status, why=why, fix=fix, wait=0)


def _as_page(pages: Pages, request: web.Request, told: Shutting) -> web.StreamResponse:
    """A refusal of the guard's for a person: who is not known is shown where to enter, without the browser's own question."""
    if told.status == 401:
        wanted = request.path_qs if request.method == "GET" else "/"
        return web.Response(status=303, headers={**SECURITY, "Location": f"/login?to={quote(wanted, safe='')}"})
    wait = math.ceil(float(told.headers.get("Retry-After", "0")))
    answer = pages.page(
        request,
        "trouble.html",
        told.status,
        code=_known(told.status),
        number=told.status,
        why=told.why,
        fix=told.fix,
        wait=wait,
    )
    if wait:
        answer.headers["Retry-After"] = str(wait)
    return answer


def _known(status: int) -> str:
    return str(status) if status in {403, 404, 409, 413, 429, 500, 503} else "other"


def proven(pages: Pages) -> Middleware:
    """The inner middleware. A token in the header is no browser's doing; Basic may be, for browsers repeat it by themselves."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_program = request.headers.get("Authorization", "").lower().startswith("bearer ")
        if request.method != "POST" or is_program or request.match_info.route.resource is None:
            return await handler(request)
        given = (await request.post()).get(PROOF, "")
        if not isinstance(given, str) or not pages.sessions.is_proof(request[BROWSER], given):
            words = pages.words(request)
            raise Refused(403, words("trouble.stale"), words("trouble.stale_fix"))
        return await handler(request)

    return answer
