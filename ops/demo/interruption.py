"""Interruption: how the demo takes Ctrl-C and the signals of a supervisor, whenever they come: a clean end, said in words.

| signal              | while the city lives                      | at any other time                  | while all is stopping |
|---------------------|-------------------------------------------|------------------------------------|-----------------------|
| SIGINT, the first   | the city rests; what is under way arrives | everything stops, nothing compared | heard, no more        |
| any other, or again | everything stops, nothing compared        | the same                           | heard, no more        |

The mesh beside it may end by itself, or hear the same signal. What is waited for would then never come: this, too, stops everything.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from schemas.errors import Transient

MESH_ENDED = signal.SIGUSR1
"""Sent to ourselves, for a signal's handler runs in the main thread and ends its waiting."""


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
        heard = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, MESH_ENDED)
        before = {each: signal.signal(each, self._hear) for each in heard}
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

    def mesh_ended(self) -> None:
        """The mesh is gone: whatever the main thread waits for ends. Callable from any thread."""
        os.kill(os.getpid(), MESH_ENDED)

    def stopping(self) -> None:
        """From now on everything is being stopped: further signals change nothing."""
        self._is_stopping = True

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if number == MESH_ENDED:
            if not self._is_stopping:
                self._is_stopping = True
                raise Interrupted
        elif self._is_stopping:
            self._say("stopping already; nothing is left behind")
        elif self._is_living and number == signal.SIGINT and not self.is_asked_to_rest:
            self.is_asked_to_rest = True
        else:
            self.number, self._is_stopping = number, True
            raise Interrupted


def raise_unless_interrupted(interruption: Interruption, error: BaseException, directory: Path) -> None:
    """Return if what ended the demo is an interruption: a signal that it heard, or one that the mesh beside it heard as well.

    A signal may go to all processes of a tree at once. The mesh then stops its servers while the city still writes to them.
    Raises `error` otherwise, or Transient for a mesh that ended though nobody asked for it.
    """
    is_mesh_gone = not (directory / "endpoints.json").exists()
    is_asked = interruption.is_asked_to_rest or bool(interruption.number)
    if is_asked and (isinstance(error, Interrupted) or is_mesh_gone):
        return
    if isinstance(error, Interrupted):
        log = directory / "log" / "up.log"
        raise Transient("the mesh ended while the city lived on it", fix=f"its last words are in {log}") from None
    raise error
