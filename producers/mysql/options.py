"""What may stand under `options` of a source of kind `mysql`."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Annotated, Literal

from schemas.form import Between

_FIRST_OF_OURS = 0x6000_0000


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlSourceOptions:
    """All of them optional.

    `server_id`: as which replica the source reads the log; it must be nobody else's, and is made of the source's name unless
    said. `on_table_change`: what becomes of a feed when another table takes over its table's name: with `stop` it waits for
    `mesh resync`, with `copy` it is copied anew by itself. `copy_rows`: how many rows of a table are read at once while it is copied.
    """

    server_id: Annotated[int, Between(1, 0xFFFF_FFFF)] | None = None
    on_table_change: Literal["stop", "copy"] = "stop"
    copy_rows: Annotated[int, Between(1, 100_000)] = 2_000

    def replica_id(self, source: str) -> int:
        """The number as which the source `<agency>.<source>` reads the log."""
        return self.server_id or _FIRST_OF_OURS + (zlib.crc32(source.encode()) & 0x1FFF_FFFF)
