"""What may stand under `options` of a source of kind `polled`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from schemas.form import Between, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PolledOptions:
    """All of them optional.

    `updated_column`: the column that every write of a row raises: a time, or a number; an index begins with it. Where it is empty,
    tables are read whole each time. `overlap_seconds` (of a time) and `overlap_numbers` (of a number): how far behind the newest row
    each poll begins: longer than the longest transaction that writes. `poll_seconds`: how often; `reconcile_seconds`: how often the
    whole table is read, which finds deletes and rows that were written past the column. `time_zone` is that of moments without one.
    `delete_share_max`, `accept`, `bad_share_max` and `expected_seconds` are as those of files.
    """

    updated_column: str = "updated_at"
    poll_seconds: Annotated[Seconds, Between(0.1)] = 10.0
    reconcile_seconds: Annotated[Seconds, Between(0.1)] = 3600.0
    overlap_seconds: Annotated[Seconds, Between(0)] = 300.0
    overlap_numbers: Annotated[int, Between(0)] = 1000
    time_zone: str = "Asia/Shanghai"
    delete_share_max: Annotated[float, Between(0, 1)] = 0.2
    bad_share_max: Annotated[float, Between(0, 1)] = 0.05
    accept: tuple[str, ...] = ()
    expected_seconds: Annotated[Seconds, Between(1)] | None = None
