"""Places: where a sink's tables are, so that two sinks that would write the same one are found out before they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.agreement.grant import Grant
from schemas.mysql_address import address_of
from sinks.kind import Destination
from sinks.mysql.options import MysqlSinkOptions
from sinks.sink import SinkSetup


def places(setup: SinkSetup, grants: Sequence[Grant]) -> Iterator[Destination]:
    """The tables of these grants. See `SinkKind.places`."""
    options = setup.options(MysqlSinkOptions)
    at = address_of(setup.secret(options.address, setup.sink.name))
    server = at.socket or f"{at.host}:{at.port}"
    for grant in grants:
        table = options.tables.get(grant.delivered_as, grant.delivered_as.replace(".", "_"))
        # One that differs in capitals alone is the same one on many servers.
        yield Destination(what=f"table {table}", where=("mysql table", server, at.database, table.lower()))
