"""Program: what to run as a child process, and the running child.

A child dies with the thread that launched it, whatever ends that: the kernel signals it (ops/embedded/leash.py). So launch from
a thread that lives as long as the child shall. A child also holds the lock on its `lives_in` directory, as do all processes it
forks: the lock is free exactly when none of them is left, which no pid file can promise.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import Misconfigured, Transient

_LEASH = Path(__file__).with_name("leash.py")
LOG_BYTES_MAX = 16 << 20
_PORT_ATTEMPTS = 3
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An unprivileged user to run as. `needs_override`: the program or its data lie where that user may not walk."""

    uid: int
    gid: int
    needs_override: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A child process to be. Its output is appended to `log`.

    `before_start` runs in the parent ahead of every start, while nothing lives in `lives_in`. `stop_signal` asks for an orderly
    end; after `stop_within_seconds` the whole process group is killed. `death_signal` is what the kernel sends when the
    parent dies.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    lives_in: Path | None = None
    user: User | None = None
    before_start: Callable[[], None] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_seconds: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL


class Running:
    """A launched program."""

    def __init__(self, program: Program, process: subprocess.Popen[bytes]) -> None:
        self.program = program
        self._process = process

    @property
    def pid(self) -> int:
        """The process id, which is also its process group's."""
        return self._process.pid

    def ended(self) -> int | None:
        """The exit status (negative: the signal) once the process has ended, else None."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait for the end; the exit status."""
        return self._process.wait()

    def ask_to_stop(self) -> None:
        """Send the stop signal to the process; it stops its own children."""
        if self.ended() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, self.program.stop_signal)

    def stop(self) -> None:
        """End the process: orderly within its deadline, then the whole group by force."""
        self.ask_to_stop()
        try:
            self._process.wait(self.program.stop_within_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        # What the process left behind in its group ends too.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the whole process group at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def launch(program: Program, *, vacant_within_seconds: float = 20.0) -> Running:
    """Start the program as a child of this thread.

    Waits until whatever lived in its directory before is gone. Raises Transient when it stays, and Misconfigured when the program
    is not there.
    """
    program.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    program.log.touch(mode=0o600)  # servers write what they please into it
    rotate(program.log)
    user = program.user
    leash = [
        sys.executable,
        "-I",
        "-S",
        str(_LEASH),
        str(os.getpid()),
        str(int(program.death_signal)),
        *((str(user.uid), str(user.gid), str(int(user.needs_override))) if user else ("-1", "-1", "0")),
        *program.argv,
    ]
    with _occupied(program, vacant_within_seconds) as held, program.log.open("ab") as log:
        if program.before_start:
            program.before_start()
        try:
            process = subprocess.Popen(
                leash,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **program.env},
                pass_fds=held,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            fix = "reinstall Python and the mesh's packages"
            raise Misconfigured(program.name, f"{error.filename} is missing", fix=fix) from error
    return Running(program, process)


@contextmanager
def _occupied(program: Program, within_seconds: float) -> Iterator[tuple[int, ...]]:
    """Hold the lock of the program's directory, for the child to inherit."""
    if program.lives_in is None:
        yield ()
        return
    program.lives_in.mkdir(parents=True, exist_ok=True)
    lock = program.lives_in / "occupied.lock"
    deadline = time.monotonic() + within_seconds
    with lock.open("a") as opened:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Transient(
                        f"{program.name}: an earlier one still runs in {program.lives_in}",
                        fix="stop the mesh that uses this directory (mesh down --dir), or choose another directory",
                    ) from None
                time.sleep(_POLL_SECONDS)
        yield (opened.fileno(),)


def rotate(log: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Keep a log within twice `bytes_max`: beyond it, its text moves to `<log>.1` and the file starts anew.

    Copies and cuts, because the child goes on appending to the same open file; what it writes in between is lost.
    """
    with suppress(FileNotFoundError):
        if log.stat().st_size > bytes_max:
            old = log.with_name(f"{log.name}.1")
            with log.open("rb") as source, old.open("wb") as target:
                source.seek(-bytes_max, os.SEEK_END)
                while chunk := source.read(1 << 20):
                    target.write(chunk)
            os.truncate(log, 0)


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log, for an error that says why a program ended."""
    try:
        with log.open("rb") as opened:
            opened.seek(max(0, log.stat().st_size - 8192))
            return "\n".join(opened.read().decode("utf-8", "replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


def said_since(log: Path, start: int) -> str:
    """What a log has gained since it was `start` bytes long."""
    with log.open("rb") as opened:
        opened.seek(start)
        return opened.read().decode("utf-8", "replace")


def wait_ready(running: Running, is_ready: Callable[[], bool], within_seconds: float) -> None:
    """Return once `is_ready`; otherwise end the program, and raise Transient with the end of its log."""
    deadline = time.monotonic() + within_seconds
    program = running.program
    try:
        while not is_ready():
            status = running.ended()
            if status is not None or time.monotonic() >= deadline:
                what = "did not answer in time" if status is None else f"ended with status {status}"
                raise Transient(
                    f"{program.name} {what}; its last lines:\n{last_lines(program.log)}",
                    fix=f"read {program.log}; a full disk and too little memory are the usual causes",
                )
            time.sleep(_POLL_SECONDS)
    except BaseException:
        running.kill()
        raise


def start_server(prepare: Callable[[], Program], is_ready: Callable[[], bool], within_seconds: float) -> Running:
    """Launch what `prepare` says, each time with ports that are free, and return once it `is_ready`; raises as `wait_ready`."""
    for attempt in range(_PORT_ATTEMPTS):
        program = prepare()
        started = program.log.stat().st_size if program.log.exists() else 0
        running = launch(program)
        try:
            wait_ready(running, is_ready, within_seconds)
        except Transient:
            # Between choosing a port and binding it somebody else may have taken it.
            if attempt + 1 < _PORT_ATTEMPTS and "Address already in use" in said_since(program.log, started):
                continue
            raise
        return running
    raise AssertionError("the last attempt returns or raises")


def free_ports(count: int, preferred: Sequence[int] = ()) -> list[int]:
    """Ports of 127.0.0.1 that are free now; each preferred one that still is comes first choice."""
    with ExitStack() as opened:
        ports: list[int] = []
        for index in range(count):
            listener = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            # As the servers do themselves: connections that linger in TIME_WAIT do not make a port taken.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", preferred[index] if index < len(preferred) else 0))
            except OSError:
                listener.bind(("127.0.0.1", 0))
            ports.append(listener.getsockname()[1])
    return ports


def reaches(address: str) -> bool:
    """Whether something listens at `host:port`."""
    host, _, port = address.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except (OSError, ValueError):
        return False
    return True
