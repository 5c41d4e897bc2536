"""Session: who was let in by which browser, and the proof that a form is of a page of ours (CSRF).

A browser keeps one random id in a cookie that no script can read. It is nobody's until somebody enters with a token; then it is
changed, so that nobody knows it beforehand. Kept in memory alone: after a restart of the console everybody enters again. No token's
text is kept; what somebody may is asked anew at each request, so that a revoked token ends its sessions within seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from schemas.guard.caller import Caller

COOKIE = "mesh_browser"
IDLE_SECONDS = 30 * 60.0
LONGEST_SECONDS = 10 * 3600.0
SESSIONS_MAX = 1_000


@dataclass(slots=True)
class _Session:
    caller: Caller
    began_at: float
    seen_at: float


class Sessions:
    """Of one process, used by its event loop alone. `clock`: seconds that only go forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    @staticmethod
    def new_id() -> str:
        """What a browser keeps, 256 random bits."""
        return secrets.token_urlsafe(32)

    def begin(self, caller: Caller) -> str:
        """Let somebody in: the id that the browser has from now on. Where there are too many, who came least lately goes."""
        browser, now = self.new_id(), self._clock()
        self._sessions[_digest(browser)] = _Session(caller, now, now)
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return browser

    def caller(self, browser: str, *, by_itself: bool = False) -> Caller | None:
        """Who entered with this browser, if that is not too long ago. `by_itself`: a part of a page asks that renews itself."""
        key, now = _digest(browser), self._clock()
        session = self._sessions.get(key)
        if session is None:
            return None
        if now - session.seen_at > IDLE_SECONDS or now - session.began_at > LONGEST_SECONDS:
            del self._sessions[key]
            return None
        if not by_itself:
            session.seen_at = now
        self._sessions.move_to_end(key)
        return session.caller

    def end(self, browser: str) -> None:
        """Whoever entered has left."""
        self._sessions.pop(_digest(browser), None)

    def proof(self, browser: str) -> str:
        """What a form carries, which a page of another origin cannot know."""
        return hmac.new(self._secret, browser.encode(), hashlib.sha256).hexdigest()

    def is_proof(self, browser: str, given: str) -> bool:
        """Whether a form carries it."""
        return hmac.compare_digest(self.proof(browser).encode(), given.encode("utf-8", "replace"))


def _digest(browser: str) -> bytes:
    return hashlib.sha256(browser.encode("utf-8", "replace")).digest()
