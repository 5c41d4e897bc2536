"""One feed that another mesh provides: its envelopes become ours, with the position that they have there.

A record is read in the schema that the other mesh wrote it with and written in ours, so that each mesh has its own registry.
What travels unchanged: the row, `op`, the whole `source` block (it tells the department's database, not the mesh between), the
transaction, the marks, what the source did not send. Of the headers those stay that speak of the change itself; the grant's
are between the other mesh and us.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from producers.source import TRUNCATE_KEY, SourceBatch
from schemas.agreement.directory import FeedEntry
from schemas.change import Op, Record
from schemas.contract import Contract
from schemas.dead_letter import DeadLetter
from schemas.errors import ContractBroken, Rejected
from schemas.feed import dead_letter_topic, out_topic
from schemas.position import Position
from schemas.wire.codec import Codec
from schemas.wire.compatibility import breaches
from schemas.wire.envelope import SOURCE_FIELDS, key_schema, unframe, value_schema
from schemas.wire.schema import SchemaOf

KEPT_HEADERS = frozenset({"reason", "correction_of"})

Headers = Sequence[tuple[str, bytes]]


def topic_of(contract: Contract, user: str) -> str:
    """The topic at the other mesh: what the contract names as its table, else our grant on the feed of the same name."""
    return contract.gov.get("table") or out_topic(f"{user}.{contract.feed}")


def row_breaches(contract: Contract, envelope: Mapping[str, Any]) -> list[str]:
    """Why rows of the other mesh's envelope schema cannot be taken under our contract; empty when they can."""
    theirs, ours = _row(envelope), _row(value_schema(contract))
    names = {field["name"] for field in theirs["fields"]}
    # Avro would read a column that is not there as null; a column that was not sent is not NULL.
    missing = [
        f"{field.name}: is not among what we are granted" for field in contract.fields if field.name not in names
    ]
    return missing or breaches([theirs], ours, "BACKWARD")


def _row(envelope: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "Row", "fields": envelope["fields"][0]["type"][1]["fields"]}


class PeerFeed:
    """Turns records of one topic into records of one feed.

    `shift` is added to every position's epoch; see producers/mesh/source.py. `newest_epoch` is the highest one written, shift
    and all.
    """

    def __init__(self, entry: FeedEntry, topic: str, schema_of: SchemaOf, shift: int) -> None:
        self.entry = entry
        self.topic = topic
        self.newest_epoch = 0
        self._shift = shift
        self._schema_of = schema_of
        self._theirs = Codec(schema_of)
        contract = entry.contract
        ours = {entry.key_schema_id: key_schema(contract), entry.value_schema_id: value_schema(contract)}
        self._ours = Codec(ours.__getitem__)
        self._columns = frozenset(field.name for field in contract.fields)
        self._known: set[int] = set()

    def take(self, batch: SourceBatch, partition: int, record: Record) -> None:
        """Append what one record becomes. Raises ContractBroken when its schema no longer serves our contract."""
        feed = self.entry.feed
        try:
            self._take(batch, record)
        except Rejected as error:  # invariant 3
            letter = DeadLetter(
                topic=feed,
                partition=-1,
                offset=-1,
                key=record.key,
                value=record.value,
                hop="capture",
                reason=error.reason,
                detail=f"{self.topic} [{partition}] at {record.offset} of the other mesh",
            )
            batch.records.append((dead_letter_topic(feed), record.key, record.value, -1, letter.headers()))
            batch.reject(feed, error.reason)

    def _take(self, batch: SourceBatch, record: Record) -> None:
        feed = self.entry.feed
        if record.value is None:
            batch.records.append((feed, self._key(record), None, -1, _kept(record)))
            return
        self._check_schema(record.value)
        envelope = self._theirs.decode(record.value)
        value = self._value(envelope)
        op, size = envelope["op"], len(value)
        if op == Op.TRUNCATE:
            # Each partition of theirs tells it after its own older rows, so that the last to tell is never too early.
            batch.records += [(feed, TRUNCATE_KEY, value, number, None) for number in range(self.entry.partitions)]
        else:
            batch.records.append((feed, self._key(record), value, -1, _kept(record)))
        batch.count(feed, op, 1, size)
        batch.committed_at_ms = max(envelope["source"]["ts_ms"], batch.committed_at_ms or 0)

    def _key(self, record: Record) -> bytes:
        if not record.key:
            raise Rejected("no_key", "a change without key has no place in a table")
        return self._ours.encode(self.entry.key_schema_id, self._theirs.decode(record.key))

    def _value(self, envelope: dict[str, Any]) -> bytes:
        try:
            source = envelope["source"]
            position = Position.parse(source["sequence"])
            position = position._replace(epoch=position.epoch + self._shift)
            unchanged = envelope["unchanged"]
        except (KeyError, TypeError, ValueError) as error:
            raise Rejected("no_position", "the record is no envelope with a position") from error
        self.newest_epoch = max(self.newest_epoch, position.epoch)
        source["sequence"] = str(position)
        if unchanged:
            envelope["unchanged"] = [name for name in unchanged if name in self._columns] or None
        return self._ours.encode(self.entry.value_schema_id, envelope)

    def _check_schema(self, value: bytes) -> None:
        schema_id, _ = unframe(value)
        if schema_id in self._known:
            return
        schema = self._schema_of(schema_id)
        try:
            broken = row_breaches(self.entry.contract, schema)
        except (KeyError, TypeError, IndexError) as error:
            raise Rejected("not_an_envelope", "the record's schema has no row in it") from error
        if broken:
            raise ContractBroken(
                f"{self.entry.feed} from {self.topic}",
                "; ".join(broken),
                fix="ask the other mesh to grant what the contract names, or onboard a contract that fits the grant",
            )
        self._known.add(schema_id)

    def emptied(self, name: str, epoch: int, now_ms: int) -> bytes:
        """A truncate that stands behind every position of an epoch: what was read before a gap is gone."""
        source: dict[str, Any] = {field["name"]: None for field in SOURCE_FIELDS}
        last = Position(epoch, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF)
        source |= {"version": "1", "connector": "mesh", "name": name, "ts_ms": now_ms, "db": "", "table": self.topic}
        envelope = {"source": {**source, "sequence": str(last)}, "op": str(Op.TRUNCATE), "ts_ms": now_ms}
        empty = dict.fromkeys(("before", "after", "transaction", "unchanged", "dq"))
        return self._ours.encode(self.entry.value_schema_id, {**empty, **envelope})


def _kept(record: Record) -> Headers | None:
    return [(name, value) for name, value in record.headers or () if name in KEPT_HEADERS] or None
