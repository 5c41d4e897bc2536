"""Copy of a subscriber's table, read with the driver's own types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import sql

from schemas.agreement.grant import Grant
from schemas.contract import Contract, Field
from schemas.plain_reading import plain_reading
from schemas.wire.name import column_name
from sinks.copy import Held, granted

_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredCopy:
    """A table in the subscriber's PostgreSQL."""

    dsn: str
    schema: str = "public"
    table: str | None = None

    def held(self, grant: Grant, contract: Contract, /) -> Iterator[Held]:
        """See Copy."""
        names = [field.name for field in granted(grant, contract)]
        table = self._named(grant)
        with plain_reading(self.dsn, f"subscriber {grant.subscriber}") as connection:
            there = connection.execute(_COLUMNS, (table.as_string(connection),)).fetchall()
            if not there:
                return  # nothing ever came: the table is made with the first row
            present = {name for (name,) in there}
            # A column comes with its first value; until then the copy has none. A table of before may have the names of the wire.
            called = [plain if (plain := column_name(name)) in present else name for name in names]
            columns = sql.SQL(", ").join(sql.Identifier(name) if name in present else sql.NULL for name in called)
            for values in connection.execute(sql.SQL("SELECT {} FROM {}").format(columns, table)):
                yield Held(dict(zip(names, values, strict=True)))

    def values_left(self, grant: Grant, contract: Contract, /) -> int:
        """See Copy."""
        allowed = _called(granted(grant, contract))
        table = self._named(grant)
        with plain_reading(self.dsn, f"subscriber {grant.subscriber}") as connection:
            there = {name for (name,) in connection.execute(_COLUMNS, (table.as_string(connection),))}
            beyond = sorted((there & _called(contract.fields)) - allowed)
            if not beyond:
                return 0
            counts = sql.SQL(" + ").join(sql.SQL("count({})").format(sql.Identifier(name)) for name in beyond)
            found = connection.execute(sql.SQL("SELECT {} FROM {}").format(counts, table)).fetchone()
            return found[0] if found else 0

    def _named(self, grant: Grant) -> sql.Identifier:
        return sql.Identifier(self.schema, self.table or grant.delivered_as.replace(".", "_"))


def _called(fields: Iterable[Field]) -> set[str]:
    """Their names at a subscriber's, and on the wire, which tables of before have."""
    return {name for field in fields for name in (field.name, column_name(field.name))}
