"""The door (schemas/agreement/door.py) as a middleware of aiohttp."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from schemas.agreement.door import judge

Explain = Callable[[int, str, str], web.StreamResponse]
"""Makes the answer of a refusal: status, what is wrong, what to do."""


def guard(explain: Explain, *, is_public: bool = False) -> Middleware:
    """The judgement as a middleware, to stand before all others."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        shut = judge(request.method, request.headers, is_public=is_public)
        return await handler(request) if shut is None else explain(*shut)

    return guarded
