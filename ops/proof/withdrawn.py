"""What should not be at a subscriber's: values in columns of a feed that its grant does not allow."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from ops.proof.copies import COLUMNS, Copy, TableCopy, granted, reading
from schemas.agreement.grant import Grant
from schemas.contract import Contract, Field
from schemas.wire.name import column_name


def values_left(copy: Copy, grant: Grant, contract: Contract) -> int:
    """How many values a subscriber's table holds that the grant does not allow. Other copies are a history, not a state."""
    if not isinstance(copy, TableCopy):
        return 0
    allowed = _called(granted(grant, contract))
    table = sql.Identifier(copy.schema, copy.table or grant.delivered_as.replace(".", "_"))
    with reading(copy.dsn, f"subscriber {grant.subscriber}") as connection:
        there = {name for (name,) in connection.execute(COLUMNS, (table.as_string(connection),))}
        beyond = sorted((there & _called(contract.fields)) - allowed)
        if not beyond:
            return 0
        counts = sql.SQL(" + ").join(sql.SQL("count({})").format(sql.Identifier(name)) for name in beyond)
        found = connection.execute(sql.SQL("SELECT {} FROM {}").format(counts, table)).fetchone()
        return found[0] if found else 0


def _called(fields: Iterable[Field]) -> set[str]:
    """Their names at a subscriber's, and on the wire, which tables of before have."""
    return {name for field in fields for name in (field.name, column_name(field.name))}
