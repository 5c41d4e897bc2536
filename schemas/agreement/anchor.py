"""Anchor (锚): the public key of another mesh, uploaded by a person who got it from that mesh's people.

A source or sink of kind `mesh` names its anchor by fingerprint; without that anchor nothing is taken from there, and nothing
is given (invariant 6, HANDBOOK A10).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from schemas.agreement.identity import fingerprint_of
from schemas.errors import Misconfigured
from schemas.form import Written, needed

MESH = "mesh"
"""The kind of a source or sink at whose other end is another mesh."""

ANCHOR = "anchor"
"""The option of such a source or sink that holds the fingerprint."""

_FINGERPRINT = re.compile("[0-9a-f]{64}")


def _fingerprint(value: Any) -> str:
    if not isinstance(value, str) or not _FINGERPRINT.fullmatch(value):
        raise ValueError
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorOptions:
    """What may stand under `options` of a source or sink of kind `mesh`."""

    anchor: Annotated[str, Written(_fingerprint, "a fingerprint, 64 digits of 0-9 and a-f")] = needed(
        "nobody says which mesh may be at the other end",
        "add `options: {anchor: <fingerprint>}`, the 64 digits that `mesh identity` of the other mesh prints",
    )


def anchor_named(options: Mapping[str, Any], owner: str) -> str:
    """The fingerprint among the options of a source or sink of kind `mesh`. Raises Misconfigured."""
    fingerprint = options.get(ANCHOR)
    if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
        raise Misconfigured(
            owner,
            "names no anchor, so nobody says which mesh may be at the other end",
            fix="add `options: {anchor: <fingerprint>}`, the 64 digits that `mesh identity` of the other mesh prints",
        )
    return fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One trusted key. `name` is for people: whose it is."""

    public_key: bytes
    name: str

    @property
    def fingerprint(self) -> str:
        """By what sources and sinks name it."""
        return fingerprint_of(self.public_key)

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.anchors`, whose key is the fingerprint."""
        return {"fingerprint": self.fingerprint, "public_key": self.public_key.hex(), "name": self.name}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Anchor:
        """Read a record of `mesh.anchors`. Raises ValueError for one whose fingerprint is not its key's."""
        anchor = cls(public_key=bytes.fromhex(record["public_key"]), name=record["name"])
        if anchor.fingerprint != record["fingerprint"]:
            raise ValueError("the fingerprint is another key's")
        return anchor
