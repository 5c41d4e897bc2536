"""Look on: what a process looks at again and again beside its work, each in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from schemas.errors import MeshError

_logger = logging.getLogger(__name__)


def look_on(look: Callable[[], object], stop: threading.Event, *, name: str, every_seconds: float) -> threading.Thread:
    """Call `look` every so many seconds until `stop`, in a thread called `name`.

    What cannot be done for now is said once for each problem, and tried at the next look. Whatever else is raised ends the process
    (ops/host/process.py).
    """

    def keep() -> None:
        told = ""
        while not stop.wait(every_seconds):
            try:
                look()
                told = ""
            except MeshError as error:
                if error.problem != told:
                    told = error.problem
                    _logger.warning("%s: looked at again: %s", name, error)

    thread = threading.Thread(target=keep, name=name, daemon=True)
    thread.start()
    return thread
