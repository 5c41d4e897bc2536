"""PostgreSQL as a kind of sink: subscribers' tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig
from schemas.contract import Contract
from sinks.copy import Copy
from sinks.kind import Checked, Destination, SinkKind
from sinks.postgresql.options import PostgresSinkOptions
from sinks.sink import Sink, SinkSetup


def _build(setup: SinkSetup) -> Sink:
    from sinks.postgresql.sink import build_postgres

    return build_postgres(setup)


def _try(setup: SinkSetup) -> None:
    from sinks.postgresql.trial import try_postgres

    try_postgres(setup)


def _probe(setup: SinkSetup, grants: Sequence[Grant]) -> Iterable[Checked]:
    from sinks.postgresql.trial import probe_postgres

    return probe_postgres(setup, grants)


def _unfit(sink: SinkConfig, grant: Grant, contract: Contract) -> Iterable[tuple[str, str]]:
    from sinks.postgresql.table.limits import unfit

    return unfit(sink, grant, contract)


def _places(setup: SinkSetup, grants: Sequence[Grant]) -> Iterable[Destination]:
    from sinks.postgresql.neighbour import places

    return places(setup, grants)


def _databases(setup: SinkSetup) -> Iterable[str]:
    from sinks.postgresql.neighbour import databases

    return databases(setup)


def _is_beside_source(sink: SinkConfig) -> bool:
    return sink.options.get("beside_source") is True


def _copy(setup: SinkSetup, grant: Grant, _kept: Path | None) -> Copy:
    from sinks.postgresql.copy import DeliveredCopy

    options = setup.options(PostgresSinkOptions)
    address = setup.secret(options.address, setup.sink.name)
    return DeliveredCopy(dsn=address, schema=options.schema, table=options.tables.get(grant.delivered_as))


POSTGRES = SinkKind(
    build=_build,
    options=PostgresSinkOptions,
    unfit=_unfit,
    trial=_try,
    probe=_probe,
    places=_places,
    databases=_databases,
    is_beside_source=_is_beside_source,
    copy=_copy,
    keeps_rows=True,
    target="database",
    reads_headers=False,
)
