"""Spill: what is known of many keys, on disk, a part at a time in memory.

A key falls into a part by the first byte of its hash, so that what source and feed know of it is in parts of the same number, however
many keys there are: millions cost some tens of megabytes on disk and a two hundred and fifty-sixth of them in memory.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from typing import IO, Any

PARTS = 256
BUFFER_BYTES = 1 << 16


class Spill:
    """Entries of one fixed layout, whose first field is the hash of a key. In files without a name: they go with the process."""

    def __init__(self, layout: str) -> None:
        self._entry = struct.Struct(layout)
        self.pack = self._entry.pack
        self._buffers = [bytearray() for _ in range(PARTS)]
        self._files: list[IO[bytes] | None] = [None] * PARTS

    def add(self, number: int, entry: bytes) -> None:
        """Keep a packed entry; `number` is the first byte of its key's hash."""
        buffer = self._buffers[number]
        buffer += entry
        if len(buffer) > BUFFER_BYTES:
            file = self._files[number]
            if file is None:
                file = self._files[number] = tempfile.TemporaryFile(prefix="mesh-verify-")  # noqa: SIM115 - `close` does
            file.write(buffer)
            buffer.clear()

    def part(self, number: int) -> Iterator[tuple[Any, ...]]:
        """The entries of one part, in the order in which they came."""
        file = self._files[number]
        if file is not None:
            file.seek(0)
            while data := file.read(BUFFER_BYTES * self._entry.size):
                yield from self._entry.iter_unpack(data)
            file.seek(0, 2)
        yield from self._entry.iter_unpack(bytes(self._buffers[number]))

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            if file is not None:
                file.close()
