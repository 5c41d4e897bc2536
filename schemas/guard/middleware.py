"""The guard as a middleware of aiohttp: the door, then who it is, then whether the table lets them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from schemas.guard.caller import EVERYBODY, EVERYTHING, NOBODY, NOTHING, Caller, Remit
from schemas.guard.door import Shut, judge
from schemas.guard.entrance import Entrance
from schemas.guard.guard import Guard, may_wait
from schemas.guard.table import is_anybody_s, may

Explain = Callable[[int, str, str], web.StreamResponse]
"""Makes the answer of a refusal: status, what is wrong, what to do."""
REMIT = web.RequestKey("remit", Remit)
"""What of the mesh the request may touch; a handler of Reach.CUT cuts its answer to it."""
CALLER = web.RequestKey("caller", Caller)


def _nobody_s(_request: web.Request) -> str:
    return ""


def _without_session(_request: web.Request) -> Caller | None:
    return None


def guarded(
    explain: Explain,
    server: str,
    entrance: Entrance,
    *,
    owner: Callable[[web.Request], str] = _nobody_s,
    is_public: bool = False,
    takes_forms: bool = False,
    session: Callable[[web.Request], Caller | None] = _without_session,
) -> Middleware:
    """Stands before all others. `owner`: the agency of what the request's address names.

    `is_public`, `takes_forms`: see `judge`. `session`: who was let in before, where a browser shows that instead of a token.
    """

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        shut = judge(request.method, request.headers, is_public=is_public, takes_forms=takes_forms)
        if shut is None and entrance.guard is None:
            request[CALLER], request[REMIT] = EVERYBODY, EVERYTHING
        elif shut is None and entrance.guard is not None:
            shut = await _admit(request, server, entrance.guard, owner, session(request))
        return await handler(request) if shut is None else refusal(explain, shut)

    return answer


async def _admit(
    request: web.Request,
    server: str,
    guard: Guard,
    owner: Callable[[web.Request], str],
    known: Caller | None,
) -> Shut | None:
    address = request.remote or ""
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    endpoint = f"{method} {resource.canonical}" if resource else ""
    if is_anybody_s(server, endpoint):
        request[CALLER], request[REMIT] = known or NOBODY, NOTHING
        return guard.anybody(address)
    is_session = known is not None and "Authorization" not in request.headers
    found = guard.again(known, address) if is_session and known else await who(guard, request)
    if isinstance(found, Shut):
        guard.tell(server, found, address)
        return found
    if resource is None:
        request[CALLER], request[REMIT] = found, NOTHING
        return None  # there is no such address, and whoever is known may be told so
    remit = may(server, endpoint, found, owner(request))
    if isinstance(remit, Shut):
        guard.tell(server, remit, address)
        return remit
    request[CALLER], request[REMIT] = found, remit
    return None


async def who(guard: Guard, request: web.Request) -> Caller | Shut:
    """Whoever sent a request, or why it is not answered; the loop does not wait for an identity provider."""
    authorization, address = request.headers.get("Authorization", ""), request.remote or ""
    if may_wait(authorization):
        return await asyncio.to_thread(guard.who, authorization, address)
    return guard.who(authorization, address)


def refusal(explain: Explain, shut: Shut) -> web.StreamResponse:
    """The answer that tells it, with the headers by which clients know what to do."""
    answer = explain(shut.status, shut.why, shut.fix)
    if shut.wait_seconds:
        answer.headers["Retry-After"] = str(max(1, math.ceil(shut.wait_seconds)))
    if shut.status == 401:
        answer.headers.add("WWW-Authenticate", 'Basic realm="pearlmesh", charset="UTF-8"')  # asks a person at a browser
        answer.headers.add("WWW-Authenticate", "Bearer")
    return answer
