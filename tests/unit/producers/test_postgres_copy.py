"""Ranges that end in any order move a table's place on without a hole, and an error crosses a pipe as what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.postgresql.link.catalog import CatalogTable, ReplicaIdentity
from producers.postgresql.link.link import Locked
from producers.postgresql.options import PostgresSourceOptions
from producers.postgresql.snapshot.copy import PROCESSES_MAX, Front, processes_most, processes_worth
from producers.postgresql.snapshot.copyist import error_heard, error_told
from producers.postgresql.snapshot.table_copy import RANGE_BLOCKS, ranges
from producers.source import MemoryProgress, SourceSetting
from schemas.agreement.agency import Agency, SourceConfig
from schemas.errors import ContractBroken, Misconfigured, Move, Transient, asked_seconds, next_move
from schemas.log.writer import LogSetting

TABLE = CatalogTable(
    oid=1,
    name="public.t",
    kind="r",
    persistence="p",
    logged=ReplicaIdentity(kind="f"),
    filenode=1,
    rows=-1,
    blocks=10 * RANGE_BLOCKS,
    owner="o",
    is_owner=True,
    is_readable=True,
    is_row_secured=False,
    has_children=False,
    columns=(),
)


class Silent:
    def snapshot(self, *, feed: str, done_rows: int, total_rows: int) -> None:
        pass

    def retained(self, *, source: str, wal_bytes: int) -> None:
        pass


def setting(**options: Any) -> SourceSetting:
    return SourceSetting(
        agency=Agency(agency="a", name="a"),
        config=SourceConfig(name="main", kind="postgres", options=options),
        address="",
        feeds=dict,
        progress=MemoryProgress(),
        observer=Silent(),
        log=LogSetting(kafka="", client_id=""),
    )


def test_the_front_waits_for_the_range_that_is_missing() -> None:
    front = Front(0)
    assert front.done(8, 16, 3) == []
    assert front.done(16, None, 1) == []
    assert front.done(0, 8, 2) == [(8, 2), (16, 3), (None, 1)]


def test_the_front_starts_where_a_former_copy_ended() -> None:
    front = Front(16)
    assert front.done(24, None, 1) == []
    assert front.done(16, 24, 5) == [(24, 5), (None, 1)]


@given(st.permutations(list(ranges(TABLE, 0))))
def test_in_any_order_only_what_is_done_without_a_hole_is_passed(order: list[tuple[int, int | None]]) -> None:
    front, done, passed = Front(0), set[int](), list[tuple[int | None, int]]()
    for start, end in order:
        done.add(start)
        passed += front.done(start, end, start)
        assert all(start in done for start, _ in list(ranges(TABLE, 0))[: len(passed)])
        reached = sorted(done)[: len(passed)]
        assert [rows for _, rows in passed] == reached
    assert [end for end, _ in passed] == [end for _, end in ranges(TABLE, 0)]


def test_processes_are_worth_it_for_large_tables_only() -> None:
    assert processes_worth(3, [TABLE]) == 3
    assert processes_worth(30, [TABLE]) == 10
    small = replace(TABLE, blocks=RANGE_BLOCKS // 20)
    assert processes_worth(4, [small] * 30) == 1


def test_processes_are_as_many_as_asked_for_else_by_cores() -> None:
    assert processes_most(PostgresSourceOptions(snapshot_processes=7)) == 7
    assert 1 <= processes_most(PostgresSourceOptions()) <= PROCESSES_MAX


@pytest.mark.parametrize("value", [0, -1, "2", True, 1.5])
def test_a_bad_number_of_processes_is_refused(value: object) -> None:
    with pytest.raises(Misconfigured, match="snapshot_processes"):
        setting(snapshot_processes=value).options(PostgresSourceOptions)


@pytest.mark.parametrize(
    "error",
    [
        Transient("source a.main: gone: away", retry_after_seconds=5.0, fix="look"),
        Misconfigured("topic a.t", "does not exist: on the broker", fix="onboard"),
        ContractBroken("a.t", "the table no longer publishes x", fix="restore"),
    ],
)
def test_an_error_crosses_the_pipe_as_what_it_is(error: Exception) -> None:
    heard = error_heard(json.loads(json.dumps(error_told(error))))
    assert type(heard) is type(error)
    assert str(heard) == str(error)
    assert vars(heard) == vars(error)


def test_a_lock_in_the_other_process_is_waited_for_as_one_here() -> None:
    heard = error_heard(error_told(Locked("source a.main: t is locked", retry_after_seconds=5.0)))
    assert next_move(heard) is Move.RETRY
    assert asked_seconds(heard) == 5.0


def test_what_nobody_foresaw_ends_the_process_here_too() -> None:
    heard = error_heard(error_told(KeyError("x")))
    assert next_move(heard) is Move.CRASH
    assert "KeyError" in str(heard)
