"""Offboarding: what left the mesh for good, and what is left to be done for it.

The record of a name on `mesh.offboarded` is never removed: who reads a topic, a table or an audit line of that name must not meet
somebody else's. One of kind `slot` stands for what a source that has no feed any more holds in its department's database; it
is done once that was given back. A subscriber is done once its side confirmed the end of every grant (schemas/agreement/ending.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from schemas.agreement.agency import SourceConfig

Kind = Literal["agency", "source", "feed", "subscriber", "slot"]
"""What it is about. Names: the code, `<agency>.<source>`, `<feed>`, the code, `<agency>.<source>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offboarding:
    """One record. `at` is when it was offboarded, `done_at` when nothing was left to be done; both aware.

    `codes` are the resource codes of the feeds that left with it, by feed: they are never used again (schemas/resource/code.py).
    Of a `slot`: `source` is how the source was onboarded, and `command` the arguments of `mesh offboard` that ended it.
    """

    kind: Kind
    name: str
    at: datetime
    done_at: datetime | None = None
    source: SourceConfig | None = None
    command: str = ""
    codes: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def key(self) -> str:
        """The key of its record."""
        return key_of(self.kind, self.name)

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.offboarded`."""
        done = self.done_at.isoformat() if self.done_at else None
        source = asdict(self.source) if self.source else None
        return {**_plain(self), "at": self.at.isoformat(), "done_at": done, "source": source}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Offboarding:
        """Read a record of `mesh.offboarded`."""
        done, source = record["done_at"], record["source"]
        return cls(
            kind=record["kind"],
            name=record["name"],
            at=datetime.fromisoformat(record["at"]),
            done_at=datetime.fromisoformat(done) if done else None,
            source=SourceConfig(**source) if source else None,
            command=record["command"],
            codes=record.get("codes") or {},
        )


def key_of(kind: Kind, name: str) -> str:
    """The key of the record of whatever has this kind and name."""
    return f"{kind} {name}"


def _plain(offboarding: Offboarding) -> dict[str, Any]:
    return {
        "kind": offboarding.kind,
        "name": offboarding.name,
        "command": offboarding.command,
        "codes": dict(offboarding.codes),
    }
