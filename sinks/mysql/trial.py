"""Trial: what onboarding tries of a MariaDB or MySQL sink, so that a wrong password is told to the person who can mend it."""

from __future__ import annotations

from contextlib import closing

from sinks.mysql.options import MysqlSinkOptions
from sinks.mysql.pipe import MysqlPipe
from sinks.mysql.table.offsets import MysqlOffsets
from sinks.sink import SinkSetup


def try_mysql(setup: SinkSetup) -> None:
    """Log in and make our own tables. Raises Misconfigured when the account may not, Transient when nothing answers."""
    options = setup.options(MysqlSinkOptions)
    with closing(MysqlPipe(setup.secret(options.address, setup.sink.name), setup.subscriber)) as pipe:
        MysqlOffsets(pipe, setup.subscriber).make()
