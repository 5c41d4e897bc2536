"""Corrections: an objection that was upheld is CORRECTED once a change of its record has come in which the field differs.

Looked for by every process of streams, some seconds after each other; where several find it at once one of them writes it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from ops.disclosure.asked import key_of
from ops.host.look_on import look_on
from ops.objections.raising import read, value_hash, write
from ops.settings import Connections, Settings
from ops.show.tail import readable
from ops.trust.subject_key import SubjectKey
from schemas.agreement.directory import Directory
from schemas.agreement.objection import Objection, ObjectionState
from schemas.change import Change, Partition, Record
from schemas.contract import Contract
from schemas.errors import Rejected
from schemas.log.control.follower import read_directory
from schemas.log.offsets import bounds
from schemas.log.range import read_ranges
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec

LOOK_SECONDS = 5.0

GONE = "\0"

_logger = logging.getLogger(__name__)


class Corrections:
    """Looks for corrections of objections that were upheld. Where nothing is upheld, a look reads one small topic."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read: dict[str, dict[Partition, int]] = {}
        """Up to where the feed of each was looked through."""

    def look(self) -> None:
        """Look once. Raises MeshError."""
        upheld = [each for each in read(self._settings).values() if each.state is ObjectionState.UPHELD]
        if not upheld:
            return
        directory = read_directory(self._settings.kafka)
        with closing(RegistryClient(self._settings.registry)) as registry:
            codec = Codec(registry.schema)
            for objection in upheld:
                if (position := self._correction(objection, directory, codec)) is not None:
                    corrected = replace(objection, state=ObjectionState.CORRECTED, correction_event=position)
                    write(self._settings, corrected, objection, "objection CORRECTED", correction_event=position)

    def run(self, stop: threading.Event) -> None:
        """Look every few seconds until `stop`, in a thread of its own."""
        look_on(self.look, stop, name="corrections", every_seconds=LOOK_SECONDS)

    def _correction(self, objection: Objection, directory: Directory, codec: Codec) -> str | None:
        """The position of the change that corrected it; None while none has come."""
        entry = directory.feeds.get(objection.feed)
        if entry is None:
            return None
        # With another key every value would differ from the one that was seen.
        key = SubjectKey(Connections(self._settings.directory), objection.key_id)
        looked = self._read.setdefault(objection.objection_id, {})
        places: dict[Partition, tuple[int, int]] = {}
        for number in range(entry.partitions):
            low, high = bounds(self._settings.kafka, objection.feed, number)
            place = (objection.feed, number)
            places[place] = (max(low, looked.get(place, objection.since.get(str(number), low))), high)
        for batch in read_ranges(self._settings.kafka, places):
            for record in batch.records:
                change = _of_record(objection, entry.contract, codec, record)
                value = value_in(entry.contract, change, objection.field) if change else None
                if change is None or value is None:
                    continue
                if (
                    value_hash(key, objection.feed, objection.record_key, objection.field, value)
                    != objection.seen_value_hash
                ):
                    return str(change.position)
        looked.update({place: high for place, (_, high) in places.items()})
        return None


def _of_record(objection: Objection, contract: Contract, codec: Codec, record: Record) -> Change | None:
    """The change in a record, if it is one of the disputed row."""
    try:
        if record.key is None or key_of(contract, codec.decode(record.key)) != dict(objection.record_key):
            return None
        return codec.change(objection.feed, record)
    except Rejected:
        return None


def value_in(contract: Contract, change: Change, field: str, *, of: Mapping[str, Any] | None = None) -> str | None:
    """The field as people read it, empty for a null, another text than any for a row that is gone; None where it was not sent.

    Of the row after the change, or of the one that is given.
    """
    row = change.after if of is None else of
    if row is None:
        return GONE
    if field in change.unchanged:
        return None
    value = readable(contract.by_name.get(field), row.get(field))
    return "" if value is None else str(value)
