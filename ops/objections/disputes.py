"""Disputes: which changes correct what is disputed, told to the stream workers, whose output carries it (`correction_of`).

The change that corrects is the one in which the field goes from the disputed value to another: that stands in the change itself,
so it is the same change whenever it is sent again. Where the source does not send rows as they were, it is the first that this
process sees with another value. Of an objection that is CORRECTED it is the one that its record names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from ops.grants.explaining.row_key import key_given
from ops.objections.corrections import value_in
from ops.objections.raising import value_hash
from ops.settings import Connections
from ops.trust.subject_key import SubjectKey
from schemas.agreement.directory import Directory
from schemas.agreement.objection import Objection, ObjectionState
from schemas.change import Change, Record
from schemas.contract import Contract
from schemas.errors import MeshError
from schemas.wire.codec import Codec
from schemas.wire.schema import SchemaOf

_logger = logging.getLogger(__name__)

_Disputed = Mapping[bytes, Sequence[Objection]]
"""Objections by the disputed row's key, without its frame."""


class DisputedFields:
    """By what the directory says now. For one thread."""

    def __init__(self, directory: Callable[[], Directory], connections: Connections, schema_of: SchemaOf) -> None:
        self._directory = directory
        self._connections = connections
        self._codec = Codec(schema_of)
        self._seen: Directory | None = None
        self._by_feed: dict[str, _Disputed] = {}
        self._first: dict[str, str] = {}

    def keys(self, feed: str) -> Collection[bytes]:
        """The keys of rows of which a field is disputed."""
        directory = self._directory()
        if directory is not self._seen:
            self._by_feed = {}
            for name in {each.feed for each in directory.objections.values()} & directory.feeds.keys():
                self._by_feed[name] = self._disputed(directory, name)
            self._seen = directory
        return self._by_feed.get(feed, {})

    def corrected(self, feed: str, record: Record) -> Sequence[tuple[str, str]]:
        """What this change of such a row corrects: ids of objections, each with its field. Raises Rejected."""
        assert self._seen is not None, "asked for its keys first"
        change, contract = self._codec.change(feed, record), self._seen.feeds[feed].contract
        if change is None:
            return ()
        found = self._by_feed[feed][(record.key or b"")[5:]]
        return [(each.objection_id, each.field) for each in found if self._is_corrected(each, change, contract)]

    def _disputed(self, directory: Directory, feed: str) -> _Disputed:
        entry, found = directory.feeds[feed], dict[bytes, list[Objection]]()
        for each in directory.objections.values():
            if each.feed != feed or each.state is ObjectionState.REJECTED:
                continue
            try:
                given = [f"{name}={value}" for name, value in each.record_key.items()]
                key = self._codec.encode(entry.key_schema_id, key_given(entry.contract, given))
            except MeshError as error:
                _logger.warning(
                    "objection %s: its correction is not marked: %s", each.objection_id, type(error).__name__
                )
            else:
                found.setdefault(key[5:], []).append(each)
        return found

    def _is_corrected(self, objection: Objection, change: Change, contract: Contract) -> bool:
        position = str(change.position)
        if objection.state is ObjectionState.CORRECTED:
            return position == objection.correction_event
        try:
            key = SubjectKey(self._connections, objection.key_id)
        except MeshError:
            return False  # ops/objections/corrections.py tells of it

        def is_disputed(value: str) -> bool:
            hashed = value_hash(key, objection.feed, objection.record_key, objection.field, value)
            return hashed == objection.seen_value_hash

        after = value_in(contract, change, objection.field)
        if after is None or is_disputed(after):
            return False
        if change.before is not None and objection.field in change.before and objection.field not in change.unchanged:
            return is_disputed(value_in(contract, change, objection.field, of=change.before) or "")
        return self._first.setdefault(objection.objection_id, position) == position
