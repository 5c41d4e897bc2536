"""Room: how much of what is read a stream worker holds at once. More of it is work in larger groups, and memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A group has at most about so many records and bytes; as much may wait for its turn, beside one fetch (FA-21).

    A fetch has at most `fetch_bytes`, and of one partition `partition_bytes`.
    """

    group_records: int = 20_000
    group_bytes: int = 16 << 20
    held_records: int = 40_000
    held_bytes: int = 16 << 20
    fetch_bytes: int = 8 << 20
    partition_bytes: int = 1 << 20
