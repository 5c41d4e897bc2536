"""Supervisor: keeps the mesh's processes running, one child each, and stops them in order.

A child that ends is started again: at once the first time, then with growing pauses while it keeps ending early. What each one
does is in `run/<name>.json`. Children die with this process, whatever kills it (ops/embedded/program.py), so a mesh never leaves
anything behind; and since no hop confirms what is not durable (invariant 7), none of these ends loses a change.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ops.embedded.program import Program, Running, launch, rotate, wait_ready
from schemas.backoff import Backoff
from schemas.errors import Misconfigured, Transient

AGAIN = Backoff(first_seconds=0.3, longest_seconds=10.0, jitter=0)
"""How long to wait before a restart, from the second early end in a row on; nobody else starts it, so nobody is to be spread."""

STEADY_SECONDS = 20.0
"""A child that lived this long did not end early."""

_POLL_SECONDS = 0.05
_ROTATE_EVERY_SECONDS = 10.0

Say = Callable[[str], None]


def pause_before_restart(lived_seconds: float, early_ends: int) -> tuple[float, int]:
    """The pause before the next start, and the new number of early ends in a row."""
    if lived_seconds >= STEADY_SECONDS:
        early_ends = 0
    return AGAIN.after(early_ends) if early_ends else 0.0, early_ends + 1


@dataclass(slots=True)
class _Child:
    program: Program
    running: Running | None
    started: float
    started_at: str
    restarts: int = 0
    early_ends: int = 0
    restart_due: float = 0.0
    last_exit: int | None = None


class Supervisor:
    """Starts, watches and stops children; all calls from one thread, which must live as long as they shall.

    `say` receives one line when a child ends or starts again.
    """

    def __init__(self, directory: Path, say: Say = lambda _: None) -> None:
        self._run = directory / "run"
        self._run.mkdir(parents=True, exist_ok=True)
        self._say = say
        self._children: dict[str, _Child] = {}
        self._rotated = time.monotonic()
        self._thread = threading.get_ident()

    def start(
        self, program: Program, is_ready: Callable[[], bool] | None = None, within_seconds: float = 60.0
    ) -> Running:
        """Start a child and keep it running from now on; returns once `is_ready`, if that is given.

        Raises Transient, with the end of its log, when it ends or is not ready in time; Misconfigured when it cannot start.
        """
        self._check(program.name)
        running = launch(program)
        if is_ready:
            wait_ready(running, is_ready, within_seconds)
        self.adopt(running)
        return running

    def adopt(self, running: Running) -> None:
        """Keep a child running that this thread has launched itself."""
        name = running.program.name
        self._check(name)
        child = _Child(running.program, running, time.monotonic(), _now())
        self._children[name] = child
        self._record(name, child)

    def pids(self) -> dict[str, int]:
        """The process id of every child that runs now."""
        return {name: child.running.pid for name, child in self._children.items() if child.running}

    def watch(self, should_stop: Callable[[], bool]) -> None:
        """Keep the children running until `should_stop`, which is asked about twenty times a second."""
        while not should_stop():
            self.tend()
            time.sleep(_POLL_SECONDS)

    def tend(self) -> None:
        """Look at every child once: note what ended, start again what is due."""
        now = time.monotonic()
        for name, child in self._children.items():
            if child.running is None:
                if now >= child.restart_due:
                    self._restart(name, child)
            elif (status := child.running.ended()) is not None:
                self._note_end(name, child, status, now)
        if now - self._rotated >= _ROTATE_EVERY_SECONDS:
            self._rotated = now
            for child in self._children.values():
                rotate(child.program.log)

    def stop(self) -> None:
        """Stop all children, the last started first; each gets its own deadline, then its process group is killed."""
        for name, child in reversed(self._children.items()):
            if child.running:
                child.running.stop()
            with suppress(FileNotFoundError):
                (self._run / f"{name}.json").unlink()
        self._children.clear()

    def _note_end(self, name: str, child: _Child, status: int, now: float) -> None:
        assert child.running
        # Whatever it left in its process group must not run beside its successor.
        child.running.kill()
        child.running = None
        child.last_exit = status
        pause, child.early_ends = pause_before_restart(now - child.started, child.early_ends)
        child.restart_due = now + pause
        again = f"again in {pause:g} s" if pause else "starting it again"
        self._say(f"{name} ended with status {status}; {again}; its log is {child.program.log}")
        self._record(name, child)
        if not pause:
            self._restart(name, child)

    def _restart(self, name: str, child: _Child) -> None:
        child.started = time.monotonic()
        try:
            child.running = launch(child.program)
        except (Transient, Misconfigured, OSError) as error:
            pause, child.early_ends = pause_before_restart(0, child.early_ends)
            child.restart_due = time.monotonic() + pause
            self._say(f"{name} cannot be started, again in {pause:g} s: {error}")
            return
        child.started_at = _now()
        child.restarts += 1
        self._record(name, child)

    def _record(self, name: str, child: _Child) -> None:
        state = {
            "pid": child.running.pid if child.running else None,
            "started_at": child.started_at,
            "restarts": child.restarts,
            "last_exit": child.last_exit,
            "log": str(child.program.log),
        }
        path = self._run / f"{name}.json"
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps(state), encoding="utf-8")
        fresh.replace(path)

    def _check(self, name: str) -> None:
        # The kernel ties a child to the thread that forked it: a thread that ends would take its children along.
        assert threading.get_ident() == self._thread, "a supervisor belongs to the thread that made it"
        assert name not in self._children, f"{name} is supervised already"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
