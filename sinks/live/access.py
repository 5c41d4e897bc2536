"""Access: the tokens of a live feed's own, compared in constant time and never shown; and how it proves itself."""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from dataclasses import dataclass, field

from aiohttp import web

from schemas.errors import Misconfigured
from schemas.guard.caller import Caller, Right, Role
from schemas.guard.door import Shut
from schemas.guard.entrance import tls_context
from schemas.guard.guard import Guard
from schemas.guard.middleware import CALLER, who
from schemas.guard.table import may
from sinks.live.options import CERTIFICATE_KEY, PREVIOUS_TOKEN, TOKEN, TOKEN_FORM, LiveOptions
from sinks.sink import SinkSetup

_ITS_OWN = "the sink's own token"
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{32,512}=*")  # RFC 6750, 2.1


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that open a feed, kept as digests: nothing of them is in memory longer than it takes to read them."""

    digests: tuple[bytes, ...] = field(repr=False)

    def admits(self, authorization: str) -> bool:
        """Whether a request's `Authorization` header has one. Takes as long for a wrong one as for a right one."""
        scheme, _, token = authorization.partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        found = False
        for known in self.digests:
            found |= hmac.compare_digest(digest, known)
        return found and scheme.lower() == "bearer"


def tokens_of(setup: SinkSetup, options: LiveOptions) -> Tokens:
    """The sink's token, and while it is being replaced the one before. Raises Misconfigured without showing them."""
    given = setup.secrets_in_use(options.secret, TOKEN, PREVIOUS_TOKEN)
    for what, token in given:
        if not _TOKEN.fullmatch(token):
            raise Misconfigured(f"{setup.label}, {what}", "is no token", fix=f"give it {TOKEN_FORM}")
    return Tokens(tuple(hashlib.sha256(token.encode()).digest() for _, token in given))


def tls_of(setup: SinkSetup, options: LiveOptions) -> ssl.SSLContext | None:
    """How others are served, None on this host alone. Raises Misconfigured for https without a certificate and its key."""
    if not options.listen.uses_tls:
        return None
    if not options.certificate:
        fix = "give it `certificate` and its `certificate_key`, or listen on http://127.0.0.1"
        raise Misconfigured(f"{setup.label}, certificate", "is not there, and https needs one", fix=fix)
    key = setup.secret("", f"{setup.sink.name}.{CERTIFICATE_KEY}")
    return tls_context(options.certificate, key, f"{setup.label}, certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAccess:
    """Who may enter a feed: whoever has the sink's own token, and who has one of the mesh's for its subscriber (`guard`)."""

    tokens: Tokens
    guard: Guard | None = None
    subscriber: str

    async def admit(self, request: web.Request) -> Shut | None:
        """Why a request stays outside; None where it does not."""
        caller = await self._caller(request)
        if isinstance(caller, Shut):
            return caller
        resource = request.match_info.route.resource
        if resource is None:
            return None  # there is no such address, and whoever is known may be told so
        remit = may("live", f"{request.method} {resource.canonical}", caller, self.subscriber)
        if isinstance(remit, Shut):
            return remit
        request[CALLER] = caller
        return None

    async def _caller(self, request: web.Request) -> Caller | Shut:
        if self.tokens.admits(request.headers.get("Authorization", "")):
            right = Right(role=Role.SUBSCRIBER, agencies=frozenset({self.subscriber}))
            return Caller(name=_ITS_OWN, rights=(right,))
        if self.guard is None:
            return Shut(401, "no right token", "send `Authorization: Bearer <token>`")
        return await who(self.guard, request)

    def stays(self, request: web.Request) -> bool:
        """Whether who was admitted may go on: a token of the mesh's that is revoked ends what it began."""
        caller = request[CALLER]
        return self.guard is None or caller.name == _ITS_OWN or self.guard.is_good(caller)
