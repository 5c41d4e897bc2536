"""MariaDB and MySQL as a kind of sink: subscribers' tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig
from schemas.contract import Contract
from sinks.copy import Copy
from sinks.kind import Destination, SinkKind
from sinks.mysql.options import MysqlSinkOptions
from sinks.sink import Sink, SinkSetup


def _build(setup: SinkSetup) -> Sink:
    from sinks.mysql.sink import build_mysql

    return build_mysql(setup)


def _check_address(address: str) -> None:
    from schemas.mysql_address import check_address

    check_address(address)


def _try(setup: SinkSetup) -> None:
    from sinks.mysql.trial import try_mysql

    try_mysql(setup)


def _unfit(sink: SinkConfig, grant: Grant, contract: Contract) -> Iterable[tuple[str, str]]:
    from sinks.mysql.limits import unfit

    return unfit(sink, grant, contract)


def _places(setup: SinkSetup, grants: Sequence[Grant]) -> Iterable[Destination]:
    from sinks.mysql.neighbour import places

    return places(setup, grants)


def _databases(setup: SinkSetup) -> Iterable[str]:
    from sinks.mysql.neighbour import databases

    return databases(setup)


def _is_beside_source(sink: SinkConfig) -> bool:
    return sink.options.get("beside_source") is True


def _copy(setup: SinkSetup, grant: Grant, _kept: Path | None) -> Copy:
    from sinks.mysql.connection import connected
    from sinks.mysql.copy import MysqlCopy

    options = setup.options(MysqlSinkOptions)
    address = setup.secret(options.address, setup.sink.name)
    return MysqlCopy(connect=lambda: connected(address, "mesh verify"), table=options.tables.get(grant.delivered_as))


MYSQL_TABLES = SinkKind(
    build=_build,
    options=MysqlSinkOptions,
    check_address=_check_address,
    unfit=_unfit,
    trial=_try,
    places=_places,
    databases=_databases,
    is_beside_source=_is_beside_source,
    copy=_copy,
    keeps_rows=True,
    reads_headers=False,
)
