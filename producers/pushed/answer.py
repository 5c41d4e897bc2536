"""Answers: what a department's script is told, as JSON, with what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ERRORS_TOLD = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PushAnswer:
    """`wait_seconds`: after which the same request is worth sending again; 0 where it is not."""

    status: int
    document: Mapping[str, Any]
    wait_seconds: float = 0.0


def refused(status: int, why: str, fix: str, **more: Any) -> PushAnswer:
    """Nothing of the batch was taken."""
    return PushAnswer(status=status, document={"taken": False, "why": why, "fix": fix, **more})


def again(status: int, why: str, wait_seconds: float, fix: str = "") -> PushAnswer:
    """It will do later. 429: nothing of it was taken up; 503: it was, or may have been, and is not known to be durable."""
    seconds = max(1, math.ceil(wait_seconds))
    fix = fix or f"send the same request with the same Idempotency-Key again in {seconds} s"
    return PushAnswer(status=status, document={"taken": False, "why": why, "fix": fix}, wait_seconds=seconds)


def faulty(faults: Sequence[Mapping[str, Any]], count: int) -> PushAnswer:
    """Rows that cannot be read: the first of them, and how many there are."""
    why = f"{count:,} {'row' if count == 1 else 'rows'} cannot be taken, so nothing of the batch was"
    fix = "correct them, and send all of it again; `mesh check` of the agency's folder shows the contract's columns"
    return refused(422, why, fix, errors=list(faults[:ERRORS_TOLD]), errors_left_out=max(0, count - ERRORS_TOLD))
