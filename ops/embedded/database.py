"""Database: what embedded database servers have in common: a directory with a password and a port that last, a start and a stop."""

from __future__ import annotations

import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ops.embedded.program import Program, Running, User, free_ports, last_lines, launch, start_server
from ops.host.private import write_private
from schemas.errors import Misconfigured

READY_WITHIN_SECONDS = 60.0


class EmbeddedDatabase(ABC):
    """One server that lives in `directory`; the same directory keeps its databases over restarts. `called` names it for people.

    Not safe for several threads; the server dies with the thread that called `start` (ops/embedded/program.py).
    """

    def __init__(self, directory: Path, log: Path, called: str) -> None:
        self._directory = directory.absolute()
        self._log = log
        self._called = called
        self._data = self._directory / "data"
        self._password_file = self._directory / "password"
        self._port_file = self._directory / "port"
        self._port = 0
        self._user: User | None = None
        self._running: Running | None = None

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, known from `prepare` on."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._running.pid if self._running else None

    @abstractmethod
    def prepare(self) -> Program:
        """Choose the port, create the data directory on first use; return what to launch."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server takes logins."""

    def start(self) -> Running:
        """Start the server and return once it takes logins. Raises Transient with the end of its log when it does not."""
        self._running = start_server(self.prepare, self.is_ready, READY_WITHIN_SECONDS)
        return self._running

    def stop(self) -> None:
        """Stop the server in order; nothing happens when it does not run."""
        if self._running:
            self._running.stop()
            self._running = None

    def _password(self) -> str:
        return self._password_file.read_text(encoding="ascii").strip()

    def _choose_port(self) -> None:
        """The port of the last start where still free, so that an address handed out stays good."""
        known: list[int] = []
        with suppress(FileNotFoundError, ValueError):
            known = [int(self._port_file.read_text(encoding="ascii"))]
        [self._port] = free_ports(1, known)
        self._port_file.write_text(str(self._port), encoding="ascii")

    @contextmanager
    def _fresh(self) -> Iterator[Path]:
        """A directory to fill, which takes the data directory's place once it is whole; there is a password by then.

        Made aside and renamed, for what is interrupted leaves no half of a data directory behind.
        """
        if not self._password_file.exists():
            write_private(self._password_file, secrets.token_urlsafe(24))
        fresh = self._directory / "data.fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self._user:
            os.chown(fresh, self._user.uid, self._user.gid)
        yield fresh
        fresh.rename(self._data)

    def _fill(self, name: str, argv: list[str]) -> None:
        """Run the program that fills a fresh directory. Raises Misconfigured."""
        program = Program(name=name, argv=argv, log=self._log, lives_in=self._directory, user=self._user)
        if status := launch(program).wait():
            raise Misconfigured(
                str(self._directory),
                f"{self._called} cannot prepare it (status {status}); its last lines:\n{last_lines(self._log)}",
                fix="choose a directory on a disk that can be written to and has room",
            )
