"""PostgreSQL as a kind of sink: subscribers' tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig
from schemas.contract import Contract
from sinks.kind import Place, SinkKind
from sinks.postgresql.options import PostgresOptions
from sinks.sink import Sink, SinkSetup


def _build(setup: SinkSetup) -> Sink:
    from sinks.postgresql.sink import build_postgres

    return build_postgres(setup)


def _try(setup: SinkSetup) -> None:
    from sinks.postgresql.trial import try_postgres

    try_postgres(setup)


def _unfit(sink: SinkConfig, grant: Grant, contract: Contract) -> Iterable[tuple[str, str]]:
    from sinks.postgresql.table.limits import unfit

    return unfit(sink, grant, contract)


def _places(setup: SinkSetup, grants: Sequence[Grant]) -> Iterable[Place]:
    from sinks.postgresql.neighbour import places

    return places(setup, grants)


def _databases(setup: SinkSetup) -> Iterable[str]:
    from sinks.postgresql.neighbour import databases

    return databases(setup)


def _is_beside_source(sink: SinkConfig) -> bool:
    return sink.options.get("beside_source") is True


POSTGRES = SinkKind(
    build=_build,
    options=PostgresOptions,
    unfit=_unfit,
    trial=_try,
    places=_places,
    databases=_databases,
    is_beside_source=_is_beside_source,
    target="database",
    reads_headers=False,
)
