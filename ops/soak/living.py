"""Living: the city's life in a thread that can rest, so that a department's server may be restarted under it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ops.city.life import Life


class Living:
    """Runs a life; what it sent is committed whenever it rests."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def wake(self) -> None:
        """Live on from where it rested."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="life")
        self._thread.start()

    def rest(self) -> None:
        """Return once everything sent is committed. Raises what ended the life, if it ended by itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def check(self) -> None:
        """Raise what ended the life, if it ended by itself."""
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Live within the block."""
        self.wake()
        try:
            yield
        finally:
            self.rest()

    def _run(self) -> None:
        try:
            self.life.run(self._stop)
        except BaseException as error:  # noqa: BLE001 - raised by the thread that asks
            self._failure = error
