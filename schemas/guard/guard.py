"""Guard: asks of every request who it comes from, and how many of them there have been (SE-03, invariant 12)."""

from __future__ import annotations

import base64
import binascii
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from schemas.errors import Transient
from schemas.guard.allowance import Allowances, Failures
from schemas.guard.caller import Caller
from schemas.guard.door import Shut

PER_SECOND = 100.0
"""Requests of one caller, with a burst of twice as many."""
ADDRESS_PER_SECOND = 500.0
"""Requests from one address, whoever sends them: a gateway is one address."""
CREDENTIAL_MAX = 8_192

Refused = Callable[[str, str, str], None]
"""Told of a request that was refused: at which server, why, from which address. Called from a server's loop; never blocks."""


def tell_nobody(_server: str, _reason: str, _address: str) -> None:
    """Where no audit is kept."""


class Callers(Protocol):
    """Knows callers by what they prove themselves with."""

    def caller(self, credential: str) -> Caller | None:
        """Whose credential it is, None for nobody's. Raises Transient where that cannot be told at present."""
        ...

    def is_own(self, credential: str) -> bool:
        """Whether it is that of a process of this mesh, which waits for nobody."""
        ...

    def is_good(self, caller: Caller) -> bool:
        """Whether nothing was revoked since that somebody was let in with. Raises Transient."""
        ...


class Guard:
    """One of a process, for all servers in it. Any thread may ask."""

    def __init__(
        self,
        callers: Callers,
        refused: Refused = tell_nobody,
        *,
        per_second: float = PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known = callers
        self._refused = refused
        self._clock = clock
        self._lock = threading.Lock()
        self._callers = Allowances(per_second, 2 * per_second)
        self._addresses = Allowances(max(ADDRESS_PER_SECOND, per_second), 2 * max(ADDRESS_PER_SECOND, per_second))
        self._failures = Failures()

    def who(self, authorization: str, address: str) -> Caller | Shut:
        """Whoever sent this `Authorization` header, or why nobody is answered. May ask an identity provider: see `may_wait`."""
        with self._lock:
            wait_seconds = self._addresses.wait_seconds(address, self._clock())
        credential = credential_of(authorization)
        if wait_seconds and not self._known.is_own(credential):
            return _busy("too many requests from your address", wait_seconds)
        if not credential:
            return Shut(401, "it names nobody", _LOGIN_FIX)
        try:
            caller = self._known.caller(credential)
        except Transient as error:
            return Shut(503, error.problem, error.fix or "ask again", error.retry_after_seconds or 1.0)
        return self._failed(address) if caller is None else self._counted(caller)

    def again(self, caller: Caller, address: str) -> Caller | Shut:
        """Somebody who was let in before and comes back, as with a browser's session; or why they are not answered."""
        if shut := self.anybody(address):
            return shut
        return (
            self._counted(caller)
            if self.is_good(caller)
            else Shut(401, "you were let in before, and are no longer", _LOGIN_FIX)
        )

    def anybody(self, address: str) -> Shut | None:
        """Whether what is open to anybody is not answered: too many requests from there."""
        with self._lock:
            wait_seconds = self._addresses.wait_seconds(address, self._clock())
        return _busy("too many requests from your address", wait_seconds) if wait_seconds else None

    def _counted(self, caller: Caller) -> Caller | Shut:
        if caller.is_limited:
            with self._lock:
                wait_seconds = self._callers.wait_seconds(caller.name, self._clock())
            if wait_seconds:
                return _busy("too many requests with your token", wait_seconds)
        return caller

    def tell(self, server: str, shut: Shut, address: str) -> None:
        """Somebody was refused, for the audit; what cannot be told at present is no attempt."""
        if shut.status < 500:
            self._refused(server, shut.why, address)

    def is_good(self, caller: Caller) -> bool:
        """Whether somebody who was let in may still stay: what they were let in with is neither expired nor revoked."""
        try:
            return caller.until > time.time() and self._known.is_good(caller)
        except Transient:
            return False

    def _failed(self, address: str) -> Shut:
        with self._lock:
            wait_seconds = self._failures.wait_seconds(address, self._clock())
        if wait_seconds:
            return _busy("too many requests without a right token", wait_seconds)
        return Shut(401, "its token is not, or no longer, good", _LOGIN_FIX)


_LOGIN_FIX = (
    "send `Authorization: Bearer <token>`, or the token as the password of HTTP Basic; `mesh token issue` gives one"
)


def _busy(why: str, wait_seconds: float) -> Shut:
    return Shut(429, why, f"ask again in {max(1, math.ceil(wait_seconds))} s", wait_seconds)


def credential_of(authorization: str) -> str:
    """The token of an `Authorization` header, as Bearer, or as the password of Basic, whose user is not looked at; or nothing."""
    scheme, _, rest = authorization.partition(" ")
    given = rest.strip()
    if len(given) > CREDENTIAL_MAX:
        return ""
    if scheme.lower() == "bearer":
        return given
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""


def may_wait(authorization: str) -> bool:
    """Whether telling who sent this may take a question to an identity provider: it is no token of the mesh's own."""
    return credential_of(authorization).count(".") == 2
