"""Trial: what onboarding tries of a PostgreSQL sink, so that a wrong password is told to the person who can mend it."""

from __future__ import annotations

from contextlib import closing

from sinks.postgresql.options import PostgresSinkOptions
from sinks.postgresql.pipe import Pipe
from sinks.postgresql.table.offsets import PostgresOffsets
from sinks.sink import SinkSetup


def try_postgres(setup: SinkSetup) -> None:
    """Log in and make our own tables. Raises Misconfigured when the account may not, Transient when nothing answers."""
    options = setup.options(PostgresSinkOptions)
    with closing(Pipe(setup.secret(options.address, setup.sink.name), setup.subscriber)) as pipe:
        PostgresOffsets(pipe, setup.subscriber, options.schema, beside_source=options.beside_source).make()
