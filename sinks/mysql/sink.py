"""MariaDB and MySQL sink: a department's database keeps the granted rows as tables. Options: see sinks/mysql/options.py."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from schemas.wire.schema import SchemaOf
from sinks.mysql.end import MysqlEndMarks
from sinks.mysql.fault import CONFLICTS
from sinks.mysql.options import MysqlSinkOptions
from sinks.mysql.pipe import MysqlPipe
from sinks.mysql.send import MysqlSending
from sinks.mysql.table.cell import key_reader, row_reader
from sinks.mysql.table.columns import MysqlColumns
from sinks.mysql.table.offsets import MysqlOffsets
from sinks.mysql.table.table import MysqlTable
from sinks.mysql.table.tables import MysqlTables
from sinks.sink import PresentSchema, SinkSetup, no_present_schema
from sinks.table.ends import TopicEnds
from sinks.table.names import TableNames
from sinks.table.narrow import Narrowed
from sinks.table.place import OffsetPlace
from sinks.table.sink import TableParts, TableSink, columns_now
from sinks.table.targets import Conditions, Readers, Targets


class MysqlSink(TableSink[MysqlTable]):
    """Delivers to one database."""

    def __init__(
        self,
        *,
        address: str,
        subscriber: str,
        schema_of: SchemaOf,
        tables: Mapping[str, str],
        present_schema: PresentSchema = no_present_schema,
    ) -> None:
        pipe, conditions = MysqlPipe(address, subscriber), Conditions()
        names = TableNames(subscriber, tables)
        now = partial(columns_now, present_schema, schema_of)
        narrowed = Narrowed(MysqlColumns(pipe), subscriber, now)
        keeper = MysqlTables(pipe, subscriber)
        parts = TableParts(
            pipe=pipe,
            place=OffsetPlace(MysqlOffsets(pipe, subscriber), subscriber),
            ends=TopicEnds(MysqlEndMarks(pipe, subscriber, names.of), subscriber),
            narrowed=narrowed,
            tables=keeper,
            sending=MysqlSending(pipe, conditions),
            targets=Targets(
                tables=keeper,
                readers=Readers(rows=row_reader, keys=key_reader),
                schema_of=schema_of,
                names=names,
                narrowed=narrowed,
                conditions=conditions,
            ),
            conditions=conditions,
            conflicts=CONFLICTS,
        )
        super().__init__(parts, schema_of)


def build_mysql(setup: SinkSetup) -> MysqlSink:
    """The sink of kind `mysql`."""
    options = setup.options(MysqlSinkOptions)
    return MysqlSink(
        address=setup.secret(options.address, setup.sink.name),
        subscriber=setup.subscriber,
        schema_of=setup.schema_of,
        tables=options.tables,
        present_schema=setup.present_schema,
    )
