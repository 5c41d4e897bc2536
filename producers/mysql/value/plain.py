"""Types that MariaDB stores in bytes of its own order and prints as text: UUID, INET4, INET6."""

from __future__ import annotations

import struct


def uuid_text(raw: bytes) -> bytes:
    """As the server prints it; the log has its bytes in the order of the text."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode()


def inet4(raw: bytes) -> bytes:
    """Four numbers with dots."""
    return b"%d.%d.%d.%d" % tuple(raw[:4])


def inet6(raw: bytes) -> bytes:
    """Groups of hexadecimal digits, the longest run of zeros left out, the last two as numbers with dots where they are an IPv4's."""
    groups = struct.unpack(">8H", raw)
    start, length = _zeros(groups)
    parts: list[str] = []
    place = 0
    while place < 8:
        if place == start and length > 1:
            parts.append("" if place else ":")
            place += length
            if place == 8:
                parts.append("")
            continue
        if place == 6 and start == 0 and (length == 6 or (length == 5 and groups[5] == 0xFFFF)):
            parts.append(inet4(raw[12:]).decode())
            break
        parts.append(f"{groups[place]:x}")
        place += 1
    return ":".join(parts).encode()


def _zeros(groups: tuple[int, ...]) -> tuple[int, int]:
    """Where the first of the longest runs of zeros begins, and how long it is."""
    best, length, place = -1, 0, 0
    while place < 8:
        end = place
        while end < 8 and groups[end] == 0:
            end += 1
        if end - place > length:
            best, length = place, end - place
        place = end + 1
    return best, length
