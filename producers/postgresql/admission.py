"""Admission: a table is looked at, and taken into the publication, before its copy begins.

Somebody may hold a lock on it for hours, and one feed's trouble is one feed's (invariant 10): so this happens on a connection and
a thread of its own, and what is locked waits for another turn while the rest goes on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from producers.finding import Finding
from producers.postgresql.identity import whole_row_fix
from producers.postgresql.link.catalog import SourceTypes, tables
from producers.postgresql.link.link import Locked, connect, translated
from producers.postgresql.onboarding.preflight import findings
from producers.postgresql.options import PostgresSourceOptions
from producers.postgresql.slot import Slot
from producers.source import SourceBatch, SourceSetting
from schemas.agreement.directory import FeedEntry
from schemas.errors import Misconfigured

Widen = Callable[[psycopg.Connection[Any], SourceTypes, FeedEntry], None]
_T = TypeVar("_T")

_logger = logging.getLogger(__name__)

_HOLDERS = """
SELECT 'process ' || l.pid || ' (' || coalesce(nullif(a.application_name, ''), a.backend_type, '') || ', '
       || coalesce(a.state, '') || coalesce(', since ' || a.xact_start::timestamp(0), '') || ')'
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.relation = to_regclass(%s) AND l.granted AND l.pid <> pg_backend_pid()
  AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"""


@dataclass(slots=True)
class Admission:
    """Which feeds may be copied now, why others may not (reason and fix), and which wait for a lock, and whose."""

    admitted: dict[str, FeedEntry] = field(default_factory=dict[str, FeedEntry])
    refused: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    locked: dict[str, str] = field(default_factory=dict[str, str])


def admission(
    setting: SourceSetting, feeds: Mapping[str, FeedEntry], widen: Widen | None
) -> Generator[SourceBatch, None, Admission]:
    """Admit feeds; yields empty batches meanwhile. Raises Misconfigured for what no feed can be captured with."""

    def work(connection: psycopg.Connection[Any]) -> Admission:
        found = Admission()
        types, slot = SourceTypes(connection), Slot(connection, setting.name)
        refused = _refused(connection, types, feeds, found)
        slot.publish({})
        slot.restore()
        for feed, entry in feeds.items():
            if feed in refused or feed in found.locked:
                continue
            try:
                with translated(setting.name):
                    if widen is not None:
                        widen(connection, types, entry)
                slot.publish({feed: entry})
            except Locked:
                found.locked[feed] = _holders(connection, entry)
            except Misconfigured as error:
                found.refused[feed] = error.problem, error.fix
            else:
                found.admitted[feed] = entry
        return found

    return (yield from _apart(setting, work))


def _refused(
    connection: psycopg.Connection[Any], types: SourceTypes, feeds: Mapping[str, FeedEntry], found: Admission
) -> set[str]:
    """Judge the feeds; all at once if none of them is locked."""
    try:
        _judge(connection, types, feeds, found)
    except Locked:
        for feed, entry in feeds.items():
            try:
                _judge(connection, types, {feed: entry}, found)
            except Locked:
                found.locked[feed] = _holders(connection, entry)
    return set(found.refused)


def _judge(
    connection: psycopg.Connection[Any], types: SourceTypes, feeds: Mapping[str, FeedEntry], found: Admission
) -> None:
    with translated("preflight"):
        listed = findings(connection, types, [entry.contract for entry in feeds.values()])
    faults = [finding for finding in listed if finding.severity == "error"]
    if server := [fault for fault in faults if fault.subject not in feeds]:
        problem, fix = _texts(server)
        raise Misconfigured("the database", problem, fix=fix)
    for feed in feeds:
        if own := [fault for fault in faults if fault.subject == feed]:
            problem, fix = _texts(own)
            found.refused[feed] = problem, fix


def widen_identity(connection: psycopg.Connection[Any], types: SourceTypes, feed: FeedEntry, *, source: str) -> None:
    """Let the log have the whole old rows of a feed's table, where we own it."""
    for table in tables(connection, types, [feed.contract.table]).values():
        if table.is_owner and (widened := whole_row_fix(table)):
            _logger.info("%s: %s", source, widened)
            connection.execute(sql.SQL(widened))  # pyright: ignore[reportArgumentType]


def server_faults(connection: psycopg.Connection[Any], types: SourceTypes, name: str) -> None:
    """Raise Misconfigured if nothing of the database can be captured."""
    with translated(name):
        listed = findings(connection, types, [])
    if faults := [finding for finding in listed if finding.severity == "error"]:
        problem, fix = _texts(faults)
        raise Misconfigured(f"source {name}", problem, fix=fix)


def _texts(faults: list[Finding]) -> tuple[str, str]:
    return "; ".join(fault.message for fault in faults), "\n       ".join(dict.fromkeys(fault.fix for fault in faults))


def feed_faults(connection: psycopg.Connection[Any], types: SourceTypes, entry: FeedEntry) -> tuple[str, str] | None:
    """Why one feed cannot be captured as its table is now, and what to do; None if it can. Raises Locked."""
    found = Admission()
    _judge(connection, types, {entry.feed: entry}, found)
    return found.refused.get(entry.feed)


def _holders(connection: psycopg.Connection[Any], entry: FeedEntry) -> str:
    with translated("locks"):
        found = connection.execute(_HOLDERS, (entry.contract.table,)).fetchall()
    named = "; ".join(row[0] for row in found) or "somebody"
    return f"waits for a lock on {entry.contract.table} that {named} holds"


def _apart(setting: SourceSetting, work: Callable[[psycopg.Connection[Any]], _T]) -> Generator[SourceBatch, None, _T]:
    """Do it in a thread with a connection of its own; yields empty batches until it is done."""
    done: list[_T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            encoding = setting.options(PostgresSourceOptions).text_encoding
            with connect(setting.address, name=setting.name, text_encoding=encoding) as connection:
                done.append(work(connection))
        except BaseException as error:  # noqa: BLE001 - raised below, in the source's own thread
            failed.append(error)

    thread = threading.Thread(target=run, name=f"admission {setting.name}", daemon=True)
    thread.start()
    while thread.is_alive():
        yield SourceBatch()
        thread.join(0.02)
    if failed:
        raise failed[0]
    return done[0]
