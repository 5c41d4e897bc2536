"""Relations: what the log announces of a table, bound to the feed that carries it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from producers.postgresql.captured import Difference, renamed, replaced
from producers.postgresql.link.catalog import SourceTypes, spelled
from producers.postgresql.stream import pgoutput
from producers.postgresql.value.envelope import CREATED, DELETED, NULL, UPDATED, FeedEnvelope, Transaction
from producers.postgresql.value.transcode import Transcoder
from producers.postgresql.value.tuple import TupleColumn
from producers.source import FeedTally
from schemas.agreement.directory import FeedEntry
from schemas.errors import ContractBroken
from schemas.position import Position

NEVER = 1 << 64
Stopped = Callable[[str, "ContractBroken | Difference"], None]
"""Told of a feed whose table the log shows to be another than its contract and its copy are of."""

_logger = logging.getLogger(__name__)


class Tracked:
    """One relation that a feed carries: transcoder, envelope constants, place in the transaction, tallies.

    Its attributes are read by the hot loop; `enter` fills in what depends on the transaction.
    """

    __slots__ = (
        "columns", "created", "deleted", "deletes", "entry", "envelope", "feed", "head", "head_deleted", "inserts", "new",
        "old", "order", "place", "row", "serial", "transcoder", "updated", "updates", "xid",
    )  # fmt: skip

    def __init__(
        self, columns: tuple[TupleColumn, ...], entry: FeedEntry, envelope: FeedEnvelope, transcoder: Transcoder
    ) -> None:
        self.columns = columns
        self.entry = entry
        self.feed = entry.feed
        self.envelope = envelope
        self.new = envelope.new
        self.old = envelope.old
        self.transcoder = transcoder
        self.row = transcoder.row
        self.serial = -1
        self.place = (0, 0)
        self.order = self.xid = 0
        self.head = self.head_deleted = self.created = self.updated = self.deleted = b""
        self.inserts, self.updates, self.deletes = FeedTally(), FeedTally(), FeedTally()

    def enter(self, transaction: Transaction) -> None:
        """Prepare this relation's constants within a transaction."""
        self.serial = transaction.serial
        self.place = transaction.place
        self.xid = transaction.xid or 0
        self.order = 0
        envelope = self.envelope
        self.head = envelope.head(transaction)
        self.head_deleted = NULL + self.head  # a delete has no after
        self.created = envelope.tail(transaction, CREATED)
        self.updated = envelope.tail(transaction, UPDATED)
        self.deleted = envelope.tail(transaction, DELETED)

    def position(self, ordinal: int) -> str:
        """The position of a change of the present transaction, as text."""
        return str(Position(*self.place, ordinal))


class Relations:
    """The relations announced on this connection (PG-25: keyed by oid, dropped with the connection).

    Changes of feeds that are not carried are passed over, and so are those that were committed before the feed's copy began:
    `gate` is the first commit for which a relation is held back, and `open` lets it in. `passed` is the last commit that was read.
    """

    def __init__(self, source: str, database: str, types: SourceTypes, stopped: Stopped, *, codec: str) -> None:
        self._source = source
        self._database = database
        self._types = types
        self._stopped = stopped
        self.codec = codec
        self._entries: Mapping[str, FeedEntry] = {}
        self._since: Mapping[str, int] = {}
        self._captured: Mapping[int, str] = {}
        self._oids: Mapping[str, int] = {}
        self.by_oid: dict[int, Tracked | None] = {}
        self._held: dict[int, tuple[int, Tracked]] = {}
        self._announced: dict[int, pgoutput.Relation] = {}
        self.gate = NEVER
        self.passed = 0
        self.truncations: dict[int, set[int]] = {}
        """By relation, the transactions that truncated it since somebody last cleared this."""

    def carry(self, entries: Mapping[str, FeedEntry], since: Mapping[str, int], oids: Mapping[str, int]) -> None:
        """Take up the feeds to capture, by `<schema>.<table>`; a new contract takes over where its columns are there.

        `since` is the first commit of each feed, `oids` the relation that each was copied from, both by feed.
        """
        self._entries, self._since, self._oids = entries, since, oids
        self._captured = {oid: feed for feed, oid in oids.items()}
        for oid, relation in self._announced.items():
            try:
                self._place(oid, self._track(relation))
            except ContractBroken:
                # The contract runs ahead of the table: it takes over with the Relation message that brings its columns.
                _logger.info("%s.%s has not the columns of its new contract yet", relation.schema, relation.table)

    def announce(self, relation: pgoutput.Relation, commit_lsn: int) -> None:
        """A Relation message: it precedes the first change after any DDL. A feed that it does not suit is stopped (PG-46)."""
        self.passed = max(self.passed, commit_lsn)
        self._announced[relation.oid] = relation
        if (odd := self._mistaken(relation)) is not None:
            self._leave(relation.oid, *odd)
            return
        try:
            self._place(relation.oid, self._track(relation))
        except ContractBroken as error:
            self._leave(relation.oid, error.subject, error)

    def leave(self, at: Tracked, error: ContractBroken) -> None:
        """Pass over the changes of a feed that cannot be read as its contract says."""
        for oid in [oid for oid, tracked in self.by_oid.items() if tracked is at]:
            self._leave(oid, at.feed, error)

    def open(self, commit_lsn: int) -> None:
        """Let in what was held back up to this commit."""
        self.passed = commit_lsn
        for oid, (since, tracked) in list(self._held.items()):
            if since <= commit_lsn:
                self.by_oid[oid] = tracked
                del self._held[oid]
        self.gate = min((since for since, _ in self._held.values()), default=NEVER)

    def _leave(self, oid: int, feed: str, why: ContractBroken | Difference) -> None:
        self._place(oid, None)
        self._stopped(feed, why)

    def _place(self, oid: int, tracked: Tracked | None) -> None:
        self._held.pop(oid, None)
        since = 0 if tracked is None else self._since.get(tracked.feed, 0)
        if tracked is not None and since > self.passed:
            self._held[oid] = since, tracked
            self.by_oid[oid] = None
        else:
            self.by_oid[oid] = tracked
        self.gate = min((since for since, _ in self._held.values()), default=NEVER)

    def _mistaken(self, relation: pgoutput.Relation) -> tuple[str, Difference] | None:
        """The feed whose table has another name in the log, or whose name another table has."""
        name = f"{relation.schema}.{relation.table}"
        entry = self._entries.get(name)
        feed = self._captured.get(relation.oid)
        if entry is not None and self._oids.get(entry.feed, relation.oid) != relation.oid:
            return entry.feed, replaced(entry.feed, name, None)
        if entry is None and feed is not None:
            table = next((table for table, each in self._entries.items() if each.feed == feed), None)
            if table is not None:
                return feed, renamed(feed, table, name)
        return None

    def _present(self, oid: int) -> Tracked | None:
        held = self._held.get(oid)
        return held[1] if held else self.by_oid.get(oid)

    def _track(self, relation: pgoutput.Relation) -> Tracked | None:
        entry = self._entries.get(f"{relation.schema}.{relation.table}")
        if entry is None:
            return None
        columns = tuple(
            TupleColumn(
                column.name, self._types.resolve(column.type_oid), self._types.typmod(column.type_oid, column.typmod)
            )
            for column in relation.columns
        )
        present = self._present(relation.oid)
        if present is not None and present.columns == columns and present.entry == entry:
            return present
        identity = {column.name for column in relation.columns if column.is_identity}
        keys = {entry.contract.by_name[name].column for name in entry.contract.key}
        if not keys <= identity:  # PG-30: otherwise deletes could not say which row they mean
            raise ContractBroken(
                entry.feed,
                f"key {', '.join(sorted(keys))} is not part of the table's replica identity",
                fix=f"ALTER TABLE {spelled(f'{relation.schema}.{relation.table}')} REPLICA IDENTITY FULL",
            )
        contract = entry.contract
        transcoder = Transcoder(contract, columns, entry.key_schema_id, codec=self.codec)
        envelope = FeedEnvelope(
            value_schema_id=entry.value_schema_id,
            source=self._source,
            database=self._database,
            schema=relation.schema,
            table=relation.table,
        )
        return Tracked(columns, entry, envelope, transcoder)
