"""Fence: the moment at which a table and its feed must be equal, and the table as it was then.

A transaction may be in the log before other sessions see it, so no place in the log that is merely read is such a moment. The
consistent point of a new replication slot is: its exported snapshot has what was committed before it in the log, and nothing else
(PG-15). The slot is a temporary one, and is given up as soon as its snapshot is held: it keeps no log, and goes with the
connection, however this process ends (PG-24). What is held on the way keeps vacuum from rows that were changed since (PG-17), and
no table: each question is a transaction of its own, so that a table's owner waits for none but the running one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn

from producers.fenced.table import FenceSetting
from producers.postgresql.fenced.table import PostgresTable, files_of, table_of
from producers.postgresql.link.link import (
    Locked,
    command,
    connect,
    connect_replication,
    database_of,
)
from producers.postgresql.options import PostgresSourceOptions
from producers.postgresql.place import SourcePlace
from producers.postgresql.snapshot.snapshot import Reading, blockers, create_slot
from schemas.errors import ContractBroken, Transient
from schemas.form import read
from schemas.incident import Kind, MemoryIncidents, State

PAUSE_SECONDS = 0.5


class _SlotWaits(MemoryIncidents):
    """Passes on what a new slot waits for."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def begin(self, kind: Kind, name: str, *, state: State, reason: str, fix: str = "") -> None:
        """See Incidents."""
        del kind, name, state, fix
        self._tell(reason)


def take(setting: FenceSetting) -> PostgresTable:
    """See `producers.fenced.table.Fencing`."""
    contract = setting.entry.contract
    name = contract.source_name
    place = _live(setting)
    options = read(PostgresSourceOptions, setting.source.options, f"source {name}")

    def opened() -> psycopg.Connection[Any]:
        return connect(setting.address, name=name, text_encoding=options.text_encoding, role="verify")

    statements, reading = opened(), None
    try:
        files = files_of(statements, contract)
        link = connect_replication(setting.address, name=name)
        try:
            _same_database(command(link, "IDENTIFY_SYSTEM", name)[0], database_of(setting.address), place, name)
            position, exported = _slot(link, statements, setting, name)
            reading = Reading(opened(), exported, position, name)
        finally:
            if link.transaction_status == pq.TransactionStatus.ACTIVE:
                with suppress(psycopg.Error):
                    link.get_cancel().cancel()
            link.finish()  # and with it the slot; the imported snapshot stays
        return PostgresTable(setting, place, reading, statements, files, options.text_encoding)
    except BaseException:
        statements.close()
        if reading is not None:
            reading.close()
        raise


def _live(setting: FenceSetting) -> SourcePlace:
    """The source's place, once the feed's table is copied."""
    while True:
        place = SourcePlace.from_json(setting.record(), {})
        try:
            table_of(place, setting.entry.contract)
        except Transient as error:
            if time.monotonic() > setting.deadline:
                raise
            setting.waiting(error.problem)
            time.sleep(PAUSE_SECONDS)
        else:
            return place


def _slot(link: PGconn, statements: psycopg.Connection[Any], setting: FenceSetting, name: str) -> tuple[int, str]:
    # A slot in the making does not notice that nobody waits for it any more; so it is given no longer than we would wait.
    left_ms = max(1, int(1000 * (setting.deadline - time.monotonic())))
    command(link, f"SET lock_timeout = {left_ms}", name)
    slot = f"mesh_fence_{link.backend_pid}"
    waits = _SlotWaits(setting.waiting)
    with suppress(Locked):
        for ready in create_slot(link, slot, is_temporary=True, statements=statements, name=name, incidents=waits):
            if ready is not None:
                return ready
            if time.monotonic() > setting.deadline:
                break
            time.sleep(0.05)
    raise Transient(
        f"{setting.entry.feed}: no fence within the time: it waits for {blockers(statements)}",
        fix="run it again with a longer `--within`, or when they have ended",
    )


def _same_database(system: Mapping[str, str | None], database: str, place: SourcePlace, name: str) -> None:
    former = place.identity
    if (former["system"], former["timeline"], former["database"]) != (system["systemid"], system["timeline"], database):
        raise ContractBroken(
            f"source {name}", "the address leads to another database than is captured", fix=f"`mesh resync {name}`"
        )
