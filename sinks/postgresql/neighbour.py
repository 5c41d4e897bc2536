"""Neighbour: where a sink's tables are, and whether its database is one that a mesh captures: no place for a sink's tables.

The database says so itself: capture leaves a publication in it, whatever the address by which either side comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from schemas.agreement.grant import Grant
from schemas.errors import MeshError, Misconfigured
from sinks.kind import Destination
from sinks.postgresql.address import database_at
from sinks.postgresql.options import PostgresSinkOptions
from sinks.postgresql.pipe import Pipe
from sinks.sink import SinkSetup

_PUBLICATIONS = r"SELECT pubname FROM pg_publication WHERE pubname LIKE 'mesh\_%' ORDER BY 1"


_IDENTITY = "SELECT current_database(), (SELECT system_identifier FROM pg_control_system())"


def places(setup: SinkSetup, grants: Sequence[Grant]) -> Iterator[Destination]:
    """The tables of these grants. See `SinkKind.places`."""
    options = setup.options(PostgresSinkOptions)
    database = database_at(setup.secret(options.address, setup.sink.name))
    for grant in grants:
        table = options.tables.get(grant.delivered_as, grant.delivered_as.replace(".", "_"))
        yield Destination(what=f"table {table}", where=("table", *database, options.schema, table))


def databases(setup: SinkSetup) -> Iterator[str]:
    """Its database by address, then by what it says itself. See `SinkKind.databases`."""
    address = setup.secret(setup.options(PostgresSinkOptions).address, setup.sink.name)
    yield "{}:{}/{}".format(*database_at(address))
    yield identity_of(address, setup.subscriber)


def identity_of(address: str, subscriber: str) -> str:
    """Which database it is, whatever address leads to it; empty when the server does not tell. Raises Transient, Misconfigured."""
    with closing(Pipe(address, subscriber)) as pipe:
        try:
            [(database, system)] = pipe.rows(_IDENTITY)
        except MeshError:
            pipe.rows("SELECT 1")  # it answers, and only does not tell
            return ""
    return f"{system}/{database}"


def refuse_captured(pipe: Pipe, subscriber: str) -> None:
    """Raises Misconfigured for a database out of which a mesh captures tables."""
    found = [name for (name,) in pipe.rows(_PUBLICATIONS)]
    if found:
        raise Misconfigured(
            f"address of {subscriber}",
            f"leads to a database that a mesh captures (publication {', '.join(found)}): its tables are a department's own",
            fix="give the sink another database; or, where the department wants both in one, a schema of its own and the option "
            "`beside_source: true`; a publication that no mesh uses any more can be dropped",
        )
