"""Sketch: what a grant would let through, gathered change by change from its own cut, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ops.grants.preview.distinct import Distinct, hash_of
from ops.grants.preview.groups import Groups
from ops.show.tail import HIDDEN, View
from schemas.agreement.grant import Grant, Mask
from schemas.change import Record
from schemas.contract import Contract, Field
from schemas.errors import Rejected
from schemas.wire.codec import Codec

SAMPLES_MAX = 5
QUASI = "QUASI_ID"
DIRECT = "DIRECT_ID"


class Sketch:
    """Takes what goes by on the feed, and what of it the grant lets through. Rows are told by their keys in the feed."""

    def __init__(self, grant: Grant, contract: Contract, codec: Codec) -> None:
        self._codec = codec
        self._contract = contract
        self._view = View(contract=contract)
        leaving = [contract.by_name[name] for name in dict.fromkeys([*contract.key, *grant.columns])]
        self.columns: Sequence[Field] = [field for field in leaving if grant.mask.get(field.name) is not Mask.DROP]
        self.masks: Mapping[str, Mask] = {field.name: grant.mask.get(field.name, Mask.FULL) for field in self.columns}
        self.quasi = [field.name for field in self.columns if QUASI in field.tags]
        direct = [field.name for field in contract.fields if DIRECT in field.tags]
        self.subject: Sequence[str] = direct[:1] or contract.key
        self.subjects, self.touched, self.rows = Distinct(), Distinct(), Distinct()
        self.groups = Groups()
        self.changes = self.passed = self.removed = 0
        self.rejected: dict[str, int] = {}
        self.samples: list[Mapping[str, Any]] = []

    def went_by(self, record: Record) -> Mapping[str, Any] | None:
        """A change of the feed; the row that it is about, None where it cannot be read or is about all of them."""
        self.changes += 1
        try:
            envelope = self._codec.decode(record.value or b"")
        except Rejected:  # whoever routes it counts it
            return None
        row = envelope["after"] or envelope["before"]
        if row is not None:
            self.subjects.add(self._subject(row))
        return row

    def passes(self, record: Record, row: Mapping[str, Any] | None, out: bytes) -> None:
        """The grant lets this through."""
        envelope = self._codec.decode(out)
        if envelope["op"] == "t":
            self.groups.clear()
            return
        key = hash_of(record.key or b"")
        after = envelope["after"]
        if after is None:
            self.removed += 1
            self.groups.drop(key)
            return
        self.passed += 1
        self.rows.add(key)
        if row is not None:
            self.touched.add(self._subject(row))
        if self.quasi:
            self.groups.put(key, hash_of(repr([after[name] for name in self.quasi]).encode()))
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(self._sample(after))

    def reject(self, rejected: Mapping[str, int]) -> None:
        """So many changes would be dead letters, by reason."""
        for reason, count in rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + count

    def _subject(self, row: Mapping[str, Any]) -> int:
        return hash_of(repr([row.get(name) for name in self.subject]).encode())

    def _sample(self, after: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row as the subscriber would have it, with all hidden that is personal, also where the grant shows it or part of it."""
        shown = self._view.row({name: after.get(name) for name in self.masks}) or {}
        return {
            name: HIDDEN if self.masks[name] is not Mask.FULL and after.get(name) is not None else value
            for name, value in shown.items()
        }
