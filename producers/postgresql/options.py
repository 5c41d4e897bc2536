"""What may stand under `options` of a source of kind `postgres`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from schemas.form import Between, Bytes

RETAINED_WARNING_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSourceOptions:
    """All of them optional.

    `manage_identity`: set REPLICA IDENTITY FULL on tables that our role owns; `retained_warning_bytes`: how much log the
    database may keep for us before we warn; `snapshot_processes`: how many processes the first copy of large tables may use, as
    many as there are cores, 4 at most, unless said otherwise; 1 uses none. `on_table_change`: what becomes of a feed when another
    table takes over its table's name, or somebody takes it out of the publication or narrows that: with `stop` it waits for
    `mesh resync`, with `copy` it is copied anew by itself. `text_encoding`: what text is
    in, where a database of encoding SQL_ASCII does not say so, or one of EUC_CN holds characters of GBK or GB18030.
    """

    manage_identity: bool = False
    retained_warning_bytes: Annotated[Bytes, Between(1)] = RETAINED_WARNING_BYTES
    text_encoding: Literal["gb18030", "gbk", "big5", "utf8"] | None = None
    snapshot_processes: Annotated[int, Between(1, 64)] | None = None
    on_table_change: Literal["stop", "copy"] = "stop"
