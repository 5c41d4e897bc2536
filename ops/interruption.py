"""Interruption: how the demo takes Ctrl-C and the signals of a supervisor, whenever they come: a clean end, said in words.

| signal              | while the city lives                      | at any other time                  | while all is stopping |
|---------------------|-------------------------------------------|------------------------------------|-----------------------|
| SIGINT, the first   | the city rests; what is under way arrives | everything stops, nothing compared | heard, no more        |
| any other, or again | everything stops, nothing compared        | the same                           | heard, no more        |
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class Interrupted(BaseException):
    """Somebody wants everything to stop now."""


class Interruption:
    """What was asked for so far. `say` receives a line for each signal that is heard and changes nothing."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._is_living = False
        self._is_stopping = False
        self.is_asked_to_rest = False
        """The city is to rest: what it did is compared."""
        self.number = 0
        """The signal that ends everything."""

    @property
    def status(self) -> int:
        """The exit status of a program that this signal ended."""
        return 128 + (self.number or signal.SIGINT)

    @contextmanager
    def heard(self) -> Iterator[Interruption]:
        """Hear signals within the block."""
        before = {each: signal.signal(each, self._hear) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield self
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    @contextmanager
    def living(self) -> Iterator[None]:
        """While the city lives a first Ctrl-C asks it to rest."""
        self._is_living = True
        try:
            yield
        finally:
            self._is_living = False

    def stopping(self) -> None:
        """From now on everything is being stopped: further signals change nothing."""
        self._is_stopping = True

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._is_stopping:
            self._say("stopping already; nothing is left behind")
        elif self._is_living and number == signal.SIGINT and not self.is_asked_to_rest:
            self.is_asked_to_rest = True
        else:
            self.number, self._is_stopping = number, True
            raise Interrupted


def is_interrupted(interruption: Interruption, error: BaseException, directory: Path) -> bool:
    """Whether what ended the demo is an interruption: a signal that it heard, or one that the mesh beside it heard as well.

    A signal may go to all processes of a tree at once. The mesh then stops its servers while the city still writes to them.
    """
    is_mesh_gone = not (directory / "endpoints.json").exists()
    return isinstance(error, Interrupted) or (interruption.is_asked_to_rest and is_mesh_gone)
