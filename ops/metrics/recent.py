"""Recent: what the counters of a process stood at a little while ago, so that one look is enough for a rate.

Every process keeps its own counters of the last seconds and serves the oldest of them at `/recent` beside `/metrics`: whoever asks
for both at once has two moments to compare, without waiting in between.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schemas.guard.wsgi import WsgiApp

STEP_SECONDS = 5.0
WINDOW_SECONDS = 10.0
AGE = "Mesh-Age-Seconds"
"""The header that says how old the counters at `/recent` are."""


class Recent:
    """Keeps pages of the last WINDOW_SECONDS, one every STEP_SECONDS, while it is open. `render` gives the present page."""

    def __init__(self, render: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self._render = render
        self._clock = clock
        self._pages: deque[tuple[float, bytes]] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="recent", daemon=True)

    def start(self) -> None:
        """Begin to keep pages; the first is that of this moment."""
        self.take()
        self._thread.start()

    def close(self) -> None:
        """Keep no more."""
        self._ending.set()
        self._thread.join()

    def take(self) -> None:
        """Keep the page of this moment, and of the former ones as many as the window needs."""
        now = self._clock()
        self._pages.append((now, self._render()))
        while len(self._pages) > 1 and now - self._pages[1][0] >= WINDOW_SECONDS:
            self._pages.popleft()

    def oldest(self) -> tuple[float, bytes]:
        """The oldest page that is kept, and its age in seconds."""
        at, page = self._pages[0]
        return self._clock() - at, page

    def beside(self, app: Any) -> WsgiApp:
        """A WSGI application that answers `/recent` itself and leaves every other address to `app`."""

        def answer(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ.get("PATH_INFO") != "/recent":
                return app(environ, start_response)
            age_seconds, page = self.oldest()
            start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), (AGE, f"{age_seconds:.3f}")])
            return [page]

        return answer

    def _keep(self) -> None:
        while not self._ending.wait(STEP_SECONDS):
            self.take()
