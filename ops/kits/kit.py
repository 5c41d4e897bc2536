"""`mesh kit`: a subscriber's kits, written into a folder or as one archive; the same for the command and the console."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.kits import live, own_topics
from ops.kits.readable import Readable, readable
from ops.settings import Settings
from schemas.agreement.directory import Directory
from schemas.errors import Misconfigured

_READ, _RUN = 0o644, 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What one sink's kit is: its name, the grants that it reads, and its files by their places in it."""

    name: str
    grants: Sequence[str]
    files: Mapping[str, str]

    def archive(self) -> bytes:
        """As a zip, in a folder of its name; the same content gives the same bytes."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for place, text in sorted(self.files.items()):
                entry = zipfile.ZipInfo(f"{self.name}/{place}")
                entry.external_attr = (0o100000 | _mode(place)) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, text.encode())
        return out.getvalue()

    def write(self, folder: Path) -> Path:
        """Into a folder of its name within `folder`. What else lies there, such as the login, stays. Raises Misconfigured."""
        root = folder / self.name
        try:
            for place, text in self.files.items():
                path = root / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
                path.chmod(_mode(place))
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise Misconfigured(str(root), problem, fix="name another folder by --to") from error
        return root


def _mode(place: str) -> int:
    return _RUN if place.endswith(".sh") else _READ


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where the kits are now."""

    kits: Mapping[Path, Kit]

    def to_json(self) -> Any:
        """For scripts."""
        return [
            {"kit": kit.name, "folder": str(path), "grants": list(kit.grants), "contents": sorted(kit.files)}
            for path, kit in self.kits.items()
        ]

    def lines(self) -> list[str]:
        """For people."""
        return [
            line
            for path, kit in self.kits.items()
            for line in (
                f"{path}: {', '.join(sorted(kit.files))}",
                f"  reads {', '.join(kit.grants)}; begin with {path / 'README.md'}, which says where the secret goes",
            )
        ]


def kits(
    settings: Settings,
    directory: Directory,
    subscriber: str,
    *,
    sinks: Sequence[str] = (),
    feeds: Sequence[str] = (),
) -> list[Kit]:
    """A kit for each of the subscriber's sinks that it reads by itself, of what it may read now. Raises Misconfigured."""
    found = readable(directory, subscriber, datetime.now(UTC), sinks=sinks, feeds=feeds)
    return [
        Kit(
            name=each.name,
            grants=[entry.grant.grant_id for entry in each.entries],
            files=_files(each, settings),
        )
        for each in found
    ]


def _files(each: Readable, settings: Settings) -> dict[str, str]:
    return own_topics.files(each, settings) if each.ends else live.files(each)
