"""Array: many values as one binary parameter, as PostgreSQL's array_recv reads it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_HEADER = struct.Struct(">iiiii")


def array(cells: Sequence[bytes], oid: int) -> bytes:
    """A one-dimensional array of cells, which have their lengths before them."""
    if not cells:
        return _HEADER.pack(0, 0, oid, 0, 0)[:12]
    return _HEADER.pack(1, 1, oid, len(cells), 1) + b"".join(cells)
