"""Neighbour: where a sink's tables are, and which database that is, so that no two ends write the same one unasked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from schemas.agreement.grant import Grant
from schemas.mysql_address import IDENTITY, address_of
from sinks.kind import Destination
from sinks.mysql.options import MysqlSinkOptions
from sinks.mysql.pipe import MysqlPipe
from sinks.sink import SinkSetup


def places(setup: SinkSetup, grants: Sequence[Grant]) -> Iterator[Destination]:
    """The tables of these grants. See `SinkKind.places`."""
    options = setup.options(MysqlSinkOptions)
    at = address_of(setup.secret(options.address, setup.sink.name))
    server = at.server
    for grant in grants:
        table = options.tables.get(grant.delivered_as, grant.delivered_as.replace(".", "_"))
        # One that differs in capitals alone is the same one on many servers.
        yield Destination(what=f"table {table}", where=("mysql table", server, at.database, table.lower()))


def databases(setup: SinkSetup) -> Iterator[str]:
    """Its database by address, then by what it says itself. See `SinkKind.databases`."""
    address = setup.secret(setup.options(MysqlSinkOptions).address, setup.sink.name)
    yield address_of(address).name
    with closing(MysqlPipe(address, setup.subscriber)) as pipe:
        [(identity,)] = pipe.rows(IDENTITY)
    yield str(identity)
