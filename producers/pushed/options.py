"""What may stand under `options` of a source of kind `push`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from schemas.form import Between, Bytes, Seconds

DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """All of them optional.

    `op_column`: what says of a row that is sent whether it is written or deleted (c, u or d; without it a row is written).
    `rows_max`: of a batch of changes; `bytes_max`: of every batch, so that a whole statement has its bound too. `waiting_max`: so
    many requests are in hand at a time, more are asked to come again (429). `answer_seconds`: how long one waits for Kafka.
    `keep_seconds`: how long an idempotency key is known. `time_zone`: of moments without one. `delete_share_max`: a whole statement
    that would delete a larger share of the rows is refused until its token stands in `accept`. `expected_seconds`: how long after a
    batch the next one should come.
    """

    op_column: str = "op"
    rows_max: Annotated[int, Between(1, 10_000)] = 10_000
    bytes_max: Annotated[Bytes, Between(1_000, 16 << 30)] = 64 << 20
    waiting_max: Annotated[int, Between(1, 100)] = 8
    answer_seconds: Annotated[Seconds, Between(0.1, 300)] = 30.0
    keep_seconds: Annotated[Seconds, Between(3600, 366 * DAY_SECONDS)] = 7 * DAY_SECONDS
    time_zone: str = "Asia/Shanghai"
    delete_share_max: Annotated[float, Between(0, 1)] = 0.2
    accept: tuple[str, ...] = ()
    expected_seconds: Annotated[Seconds, Between(1)] | None = None

    @property
    def bad_share_max(self) -> float:
        """A batch with a single bad row is refused, and its sender told, before it is a statement."""
        return 0.0
