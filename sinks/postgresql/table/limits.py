"""Limits: what of a grant PostgreSQL could not hold, said before anything is delivered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from schemas.agreement.grant import Grant, Mask
from schemas.agreement.subscriber import SinkConfig
from schemas.contract import Contract
from schemas.wire.name import column_name
from sinks.postgresql.table.table import NAME_BYTES_MAX, SHORTER_COLUMN, SHORTER_TABLE, does_hold


def unfit(sink: SinkConfig, grant: Grant, contract: Contract) -> Iterator[tuple[str, str]]:
    """Names that its table would not have, and what helps. See `SinkKind.unfit`."""
    delivered = grant.delivered_as
    tables = sink.options.get("tables")
    table = str((tables if isinstance(tables, Mapping) else {}).get(delivered, delivered.replace(".", "_")))
    text = f"is longer than the {NAME_BYTES_MAX} bytes that PostgreSQL keeps of a name: the table would not be made"
    if not does_hold(table):
        yield f"table {table} {text}", SHORTER_TABLE
    for name in dict.fromkeys((*contract.key, *grant.columns)):
        plain = column_name(name)
        if name in contract.by_name and grant.mask.get(name) is not Mask.DROP and not does_hold(plain):
            yield f"column {plain} {text}", SHORTER_COLUMN
