"""Beside: work in a thread of its own, whose end by itself is not overlooked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[threading.Event], None], name: str) -> Iterator[Callable[[], None]]:
    """Work within the block, until the event is set at its end. Yields what raises, when called, what ended the work too early.

    It is raised at the end of the block as well, unless the block ends by an exception of its own.
    """
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work(stop)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits
            failures.append(error)

    def check() -> None:
        if failures:
            raise failures[0]

    thread = threading.Thread(target=run, name=name)
    thread.start()
    try:
        yield check
    finally:
        stop.set()
        thread.join()
    check()
