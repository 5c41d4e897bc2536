"""Errors, named by what the runner does next.

    MeshError
    ├── Transient           the other side is unwell       wait, longer each time, then the same again; told once it lasts
    │   ├── StandingBy      nobody: another process has it   the same; nobody is told (producers/source.py)
    │   ├── Locked          a table, by somebody's lock      its feed waits, the others go on (producers/postgresql/link/link.py)
    │   ├── Busy            the receiver, until it says      no request to it before (sinks/sink.py)
    │   └── Unsettled       the answer to a write is lost    read again what was written (schemas/registry/topic.py)
    ├── Rejected            this change is unwell          dead letter, confirmed; go on
    │   ├── KeyUnread       nobody can say which row it is   and no row is deleted for being absent (producers/stated/records.py)
    │   ├── RowUnread       its key can be read, and no more   its row stands as it was (producers/stated/records.py)
    │   ├── NotYet          others must come before it       waits for them with its key, a while (sinks/sink.py)
    │   └── ScopeUnknown    the change does not say whose    what was delivered may say it (streams/egress/cut.py)
    ├── ContractBroken      the agreement is unwell        stop; a human decides
    │   ├── Gone            the receiver calls it off        only a person resumes its sink (sinks/sink.py)
    │   └── Undefined       a target's column has gone       its topic stands (sinks/table/fault.py)
    ├── Misconfigured       our settings are unwell        stop, at best before starting; a human decides
    │   └── NoTopic         Kafka has no such topic          its feed stands, the others go on (schemas/log/lane.py)
    ├── Fenced              another process took over      let go of what is in hand, start afresh
    │   └── Moved           the target is where it was once  start afresh from there, and say so (sinks/sink.py)
    ├── TopicTrouble        one topic of a lane            it is tried again now and then; never leaves its lane (sinks/sink.py)
    └── PositionGone        a reader's place is no more    its request is answered so; leaves no loop (sinks/live/stream.py)
    anything else           our code is unwell             crash, nothing was committed, the supervisor restarts; a source parks

`next_move` is the one place that turns an error into the move; the loops only act on it. A branch's leaves make the same move:
whoever is nearer to the cause may know better first. Texts of these errors reach logs and operators: they name subjects, topics,
columns and positions, never a value of a row.
"""

from __future__ import annotations

from enum import Enum


class Move(Enum):
    """What a loop does after an error."""

    RETRY = "retry"
    DEAD_LETTER = "dead letter"
    STOP = "stop"
    START_AFRESH = "start afresh"
    CRASH = "crash"


class MeshError(Exception):
    """Anything the mesh raises on purpose. `fix` says what a person can do about it.

    `http_status` is what the other side answered, where it spoke HTTP.
    """

    http_status: int | None = None

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix

    @property
    def problem(self) -> str:
        """What happened, without what to do about it."""
        return super().__str__()

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}" if self.fix else self.problem


class Transient(MeshError):
    """The other side is unwell: wait, then give it the same batch again."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.retry_after_seconds = retry_after_seconds


class Rejected(MeshError):
    """This change cannot be taken, today or tomorrow: it goes to the dead letters and the rest goes on.

    `reason` is a short code that is safe as a metric label, such as `numeric_nan` or `rule_uscc_ok`.
    """

    def __init__(self, reason: str, message: str = "", *, fix: str = "") -> None:
        super().__init__(message or reason, fix=fix)
        self.reason = reason


class ContractBroken(MeshError):
    """The two sides no longer agree, and no retry will change that: stop and let a human decide."""

    def __init__(self, subject: str, breach: str, *, fix: str = "") -> None:
        super().__init__(f"{subject}: {breach}", fix=fix)
        self.subject = subject
        self.breach = breach


class Misconfigured(MeshError):
    """A setting makes the work impossible: refuse to start, and say which and how to mend it."""

    def __init__(self, setting: str, problem: str, *, fix: str) -> None:
        super().__init__(f"{setting}: {problem}", fix=fix)
        self.setting = setting


class Fenced(MeshError):
    """Another process took the work over: let go of everything in hand, and ask for work again."""


def next_move(error: BaseException) -> Move:
    """Turn an error into the runner's next move; what nobody foresaw is a crash, so that nothing is committed."""
    match error:
        case Transient():
            return Move.RETRY
        case Rejected():
            return Move.DEAD_LETTER
        case ContractBroken() | Misconfigured():
            return Move.STOP
        case Fenced():
            return Move.START_AFRESH
        case _:
            return Move.CRASH


def asked_seconds(error: BaseException) -> float | None:
    """How long whoever is unwell asks to be left alone; None where it does not say."""
    return error.retry_after_seconds if isinstance(error, Transient) else None
