"""Errors, named by what the runner does next.

    MeshError
    ├── Transient           the other side is unwell       wait, then the same batch again, a bounded number of times
    ├── Rejected            this change is unwell          dead letter, confirmed; go on
    ├── ContractBroken      the agreement is unwell        stop; a human decides
    └── Misconfigured       our settings are unwell        refuse to start
    anything else           our code is unwell             crash, nothing was committed, the supervisor restarts; a source parks

`next_move` is the one place that turns an error into the move; the three loops only act on it. Texts of these errors reach
logs and operators: they name subjects, topics, columns and positions, never a value of a row.
"""

from __future__ import annotations

from enum import Enum


class Move(Enum):
    """What a loop does after an error."""

    RETRY = "retry"
    DEAD_LETTER = "dead letter"
    STOP = "stop"
    CRASH = "crash"


class MeshError(Exception):
    """Anything the mesh raises on purpose. `fix` says what a person can do about it."""

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


def next_move(error: BaseException) -> Move:
    """Turn an error into the runner's next move; what nobody foresaw is a crash, so that nothing is committed."""
    match error:
        case Transient():
            return Move.RETRY
        case Rejected():
            return Move.DEAD_LETTER
        case ContractBroken() | Misconfigured():
            return Move.STOP
        case _:
            return Move.CRASH
