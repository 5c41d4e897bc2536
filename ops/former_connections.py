"""Connections as earlier versions kept them: sources' and sinks' addresses in one folder, under one name when codes were equal.

Each such file is moved to the side that it is known to belong to. One that may be either's stays where it is, and neither reads
it: the last one to be onboarded may have overwritten the other's (a sink once wrote into a department's database that way).
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from schemas.agreement.directory import Directory

_MINTED = ("hash-key", "identity-key", "kafka")
_logger = logging.getLogger(__name__)


def settle(folder: Path, directory: Directory) -> list[str]:
    """Sort the former files of a mesh's folder; the names of those that may be either's. Safe to do at once in many processes."""
    connections = folder / "connections"
    if not connections.is_dir():
        return []
    unclear: list[str] = []
    for path in sorted(connections.iterdir()):
        owner, _, name = path.name.partition(".")
        if not owner or not path.is_file():
            continue
        sides = _sides(owner, name, directory)
        if len(sides) > 1:
            unclear.append(path.name)
            _logger.error(
                "connections/%s: may be the address of a source or of a sink, so neither uses it; onboard both folders again, "
                "then remove it",
                path.name,
            )
        elif sides:
            place = connections / sides[0]
            place.mkdir(mode=0o700, exist_ok=True)
            if not (place / path.name).exists():
                with suppress(FileNotFoundError):  # another process was first
                    path.rename(place / path.name)
    return unclear


def _sides(owner: str, name: str, directory: Directory) -> list[str]:
    """Where a file could belong: `source`, `sink`, both, or none (what the mesh minted, or of nobody who is known)."""
    agency, subscriber = directory.agencies.get(owner), directory.subscribers.get(owner)
    sides: list[str] = []
    if agency is not None and any(source.name == name and not source.is_flow for source in agency.sources):
        sides.append("source")
    if subscriber is not None:
        sinks = {sink.name for sink in subscriber.sinks}
        named = {value for sink in subscriber.sinks for value in sink.options.values() if isinstance(value, str)}
        if name in sinks | named | {f"{sink}_secret" for sink in sinks}:
            sides.append("sink")
    return [] if name in _MINTED and not sides else sides
