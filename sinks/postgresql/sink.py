"""PostgreSQL sink: a department's database keeps the granted rows as tables. Options: see sinks/postgresql/options.py."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from schemas.wire.schema import SchemaOf
from sinks.postgresql.end import PostgresEndMarks
from sinks.postgresql.options import PostgresSinkOptions
from sinks.postgresql.pipe import Pipe
from sinks.postgresql.send import Sending
from sinks.postgresql.table.columns import PostgresColumns
from sinks.postgresql.table.offsets import PostgresOffsets
from sinks.postgresql.table.row import key_reader
from sinks.postgresql.table.run import run_reader
from sinks.postgresql.table.table import DeliveredTable
from sinks.postgresql.table.tables import Tables
from sinks.sink import PresentSchema, SinkSetup, no_present_schema
from sinks.table.ends import TopicEnds
from sinks.table.names import TableNames
from sinks.table.narrow import Narrowed
from sinks.table.place import OffsetPlace
from sinks.table.sink import TableParts, TableSink, columns_now
from sinks.table.targets import Conditions, Readers, Targets


class PostgresSink(TableSink[DeliveredTable]):
    """Delivers to one database."""

    def __init__(
        self,
        *,
        dsn: str,
        subscriber: str,
        schema_of: SchemaOf,
        schema: str,
        tables: Mapping[str, str],
        beside_source: bool = False,
        present_schema: PresentSchema = no_present_schema,
    ) -> None:
        pipe, conditions = Pipe(dsn, subscriber), Conditions()
        names = TableNames(subscriber, tables)
        now = partial(columns_now, present_schema, schema_of)
        narrowed = Narrowed(PostgresColumns(pipe, schema), subscriber, now)
        keeper = Tables(pipe, subscriber, schema)
        parts = TableParts(
            pipe=pipe,
            place=OffsetPlace(PostgresOffsets(pipe, subscriber, schema, beside_source=beside_source), subscriber),
            ends=TopicEnds(PostgresEndMarks(pipe, subscriber, schema, names.of), subscriber),
            narrowed=narrowed,
            tables=keeper,
            sending=Sending(pipe, conditions),
            targets=Targets(
                tables=keeper,
                readers=Readers(rows=run_reader, keys=key_reader),
                schema_of=schema_of,
                names=names,
                narrowed=narrowed,
                conditions=conditions,
            ),
            conditions=conditions,
            conflicts=("sql_23505", "sql_23P01"),
        )
        super().__init__(parts, schema_of)


def build_postgres(setup: SinkSetup) -> PostgresSink:
    """The sink of kind `postgres`."""
    options = setup.options(PostgresSinkOptions)
    return PostgresSink(
        dsn=setup.secret(options.address, setup.sink.name),
        subscriber=setup.subscriber,
        schema_of=setup.schema_of,
        schema=options.schema,
        tables=options.tables,
        beside_source=options.beside_source,
        present_schema=setup.present_schema,
    )
