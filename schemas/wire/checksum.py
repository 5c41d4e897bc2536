"""Checksum: CRC-32 as `zlib.crc32` has it, by the processor's own instructions: a third of the time for a record of 300 bytes."""

from isal.isal_zlib import crc32

__all__ = ["crc32"]
