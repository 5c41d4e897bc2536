"""Process: what every process of a hop has before its work begins: a log without values of rows, and no thread that dies unseen.

Whoever logs, be it one of our hops or a library (Faust, aiohttp, asyncio), may log an error's traceback or text, and those may
quote a row. The one handler of the process therefore writes of every error its kind and places only (schemas/trace.py).

A thread that dies of what nobody foresaw ends its process, and the supervisor starts it again: a hop that lives on without the
thread that hears of revocations, or without the one that keeps a connection alive, would look well (invariants 6 and 7).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TextIO

from schemas.errors import MeshError
from schemas.trace import described, places

EXIT_CRASHED = 70
SPARING_SECONDS = 60.0
_CLIENTS_FORMAT = "%s [%s] %s"
"""By which librdkafka's client logs: what it is about, the client's name, the text."""
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_logger = logging.getLogger(__name__)


class SafeFormatter(logging.Formatter):
    """Formats records without the text of any error that is not the mesh's own."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        safe = logging.makeLogRecord(record.__dict__)
        safe.exc_text, safe.stack_info = None, None
        if isinstance(safe.args, tuple):
            safe.args = tuple(_safe(value) for value in safe.args)
        elif isinstance(safe.args, Mapping):
            safe.args = {name: _safe(value) for name, value in safe.args.items()}
        if isinstance(safe.msg, BaseException):
            safe.msg, safe.args = described(safe.msg), ()
        if safe.exc_info and safe.name in _QUOTING:
            # asyncio and aiohttp write the error's repr into the message itself; what it is about is the first line.
            safe.msg, safe.args = str(safe.msg).partition("\n")[0], ()
        return super().format(safe)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        """Kind and places instead of the traceback."""
        error = ei[1]
        return "" if error is None else f"  {type(error).__name__} at {places(error)}"


class Sparing(logging.Filter):
    """Lets what a Kafka client says of one trouble pass once in SPARING_SECONDS, with how often it was said since.

    A client says it at each attempt, several times a second: the log of an hour without Kafka was megabytes of one sentence.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        if record.msg != _CLIENTS_FORMAT or not isinstance(record.args, tuple):
            return True
        trouble, client, text = map(str, record.args)
        key = (trouble, client.partition("#")[0])  # each new connection of a client has a number of its own
        now = self._clock()
        said_at, left_out = self._said.get(key, (float("-inf"), 0))
        if now - said_at < SPARING_SECONDS:
            self._said[key] = (said_at, left_out + 1)
            return False
        self._said[key] = (now, 0)
        if left_out:
            record.args = (trouble, client, f"{text} (and {left_out:,} times before)")
        return True


_QUOTING = frozenset({"asyncio", "aiohttp.server", "aiohttp.web"})


def _safe(value: Any) -> Any:
    return described(value) if isinstance(value, BaseException) else value


def log_to(stream: TextIO, level: str) -> None:
    """Let the process log to a stream, by one handler."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SafeFormatter(FORMAT))
    handler.addFilter(Sparing())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def watch_threads(leave: Callable[[int], Any] = os._exit) -> None:
    """End the process, by `leave`, when a thread of it dies; say kind and place of what the main thread dies of."""

    def died(dead: threading.ExceptHookArgs) -> None:
        if dead.exc_value is None or isinstance(dead.exc_value, SystemExit):
            return
        name = dead.thread.name if dead.thread else "a thread"
        _logger.critical("the thread %r died, which ends the process: %s", name, described(dead.exc_value))
        leave(EXIT_CRASHED)

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:  # noqa: ARG001
        _logger.critical("ends: %s", described(error))

    threading.excepthook = died
    sys.excepthook = ended


def unforeseen(error: Exception) -> str:
    """What a command says of an error of ours: enough to report it, nothing of a row."""
    assert not isinstance(error, MeshError)
    return f"this command failed by a mistake of the mesh's own: {described(error)}\n  fix: report it with this line"
