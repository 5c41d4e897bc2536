"""Agency (机构): a department that provides tables, and the databases it provides them from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FLOW = "flow"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """One database or drop folder of an agency: `kind` is a key of `ops.kinds.sources.SOURCES`.

    Its address is a secret and not here: the capturing process finds it as `connections/source/<agency>.<name>` in the mesh's
    directory, or in the environment variable that the agency's file named.
    """

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_flow(self) -> bool:
        """Whether the feeds are written by a flow (streams/flows) instead of being captured."""
        return self.kind == FLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """A department's entry: code, Chinese and English names, contact, sources.

    `classification` is the class, item and category that its resources have in the catalogue (schemas/resource/code.py), empty
    where it says none.
    """

    agency: str
    name: str
    name_en: str = ""
    contact: str = ""
    sources: tuple[SourceConfig, ...] = ()
    classification: str = ""

    def source(self, name: str) -> SourceConfig | None:
        """The source of that name, if there is one."""
        return next((source for source in self.sources if source.name == name), None)

    def has_flow(self, source: str) -> bool:
        """Whether this source of the agency is a flow."""
        config = self.source(source)
        return config is not None and config.is_flow

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.agencies`."""
        sources = [
            {"name": source.name, "kind": source.kind, "options": dict(source.options)} for source in self.sources
        ]
        entry = {"agency": self.agency, "name": self.name, "name_en": self.name_en, "contact": self.contact}
        if self.classification:
            entry["classification"] = self.classification
        return {**entry, "sources": sources}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Agency:
        """Read a record of `mesh.agencies`."""
        sources = tuple(SourceConfig(**source) for source in record.get("sources", ()))
        return cls(**{**record, "sources": sources})
