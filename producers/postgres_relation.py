"""Relations: what the log announces of a table, bound to the feed that carries it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from producers import pgoutput
from producers.pg_envelope import CREATED, DELETED, NULL, UPDATED, FeedEnvelope, Transaction
from producers.pg_tuple import Column
from producers.postgres_catalog import Types, spelled
from producers.source import Tally
from producers.transcode import Transcoder
from schemas.directory import FeedEntry
from schemas.errors import ContractBroken
from schemas.position import Position

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
        self, columns: tuple[Column, ...], entry: FeedEntry, envelope: FeedEnvelope, transcoder: Transcoder
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
        self.inserts, self.updates, self.deletes = Tally(), Tally(), Tally()

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
    """The relations announced on this connection (PG-25: keyed by oid, dropped with the connection)."""

    def __init__(self, source: str, database: str, types: Types, *, is_text_checked: bool) -> None:
        self._source = source
        self._database = database
        self._types = types
        self._is_text_checked = is_text_checked
        self._entries: Mapping[str, FeedEntry] = {}
        self.by_oid: dict[int, Tracked | None] = {}
        self._announced: dict[int, pgoutput.Relation] = {}

    def carry(self, entries: Mapping[str, FeedEntry]) -> None:
        """Take up the feeds to capture, by `<schema>.<table>`; a new contract takes over where its columns are there."""
        self._entries = entries
        for oid, relation in self._announced.items():
            try:
                self.by_oid[oid] = self._track(relation)
            except ContractBroken:
                # The contract runs ahead of the table: it takes over with the Relation message that brings its columns.
                _logger.info("%s.%s has not the columns of its new contract yet", relation.schema, relation.table)

    def announce(self, relation: pgoutput.Relation) -> None:
        """A Relation message: it precedes the first change after any DDL. Raises ContractBroken (PG-46)."""
        self._announced[relation.oid] = relation
        self.by_oid[relation.oid] = self._track(relation)

    def _track(self, relation: pgoutput.Relation) -> Tracked | None:
        entry = self._entries.get(f"{relation.schema}.{relation.table}")
        if entry is None:
            return None
        columns = tuple(Column(column.name, self._types.resolve(column.type_oid)) for column in relation.columns)
        present = self.by_oid.get(relation.oid)
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
        transcoder = Transcoder(contract, columns, entry.key_schema_id, is_text_checked=self._is_text_checked)
        envelope = FeedEnvelope(
            value_schema_id=entry.value_schema_id,
            source=self._source,
            database=self._database,
            schema=relation.schema,
            table=relation.table,
        )
        return Tracked(columns, entry, envelope, transcoder)
