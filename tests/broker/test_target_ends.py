"""A subscriber's database restored from a backup of before the end of a grant: what had been taken back does not come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.agreement.directory import Directory
from schemas.agreement.ending import Ending
from schemas.agreement.grant import Status
from schemas.agreement.subscriber import SinkConfig
from schemas.incident import MemoryIncidents
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from sinks.ending import AGAIN_SECONDS, Endings
from sinks.postgresql.kind import POSTGRES
from sinks.sink import SinkSetup
from tests.broker.test_target_moved import Target, person, rows, run
from tests.stage.delivering import OutFeed, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.until import until

ENDED = "police_firm"


@pytest.fixture
def log(kafka: Kafka) -> Iterator[Log]:
    with closing(Log(kafka, client_id="test")) as log:
        yield log


class Both:
    """A target of two grants, one of which ends; `directory(confirmed)` is how things are after its end."""

    def __init__(self, kafka: Kafka, target: Target, unique: str) -> None:
        self.kafka, self.target, self.unique = kafka, target, unique
        self.ended = OutFeed(unique, "police.firm", schemas=target.feed.schemas)
        create(kafka, self.ended.topic, partitions=2)
        self.before = directory_of({unique: SinkConfig(name="main", kind="postgres")}, target.feed, self.ended)

    def fill(self) -> None:
        for number in range(10):
            self.ended.append(self.target.log, self.ended.record("c", person(number)))
        self.target.put(range(10), "yesterday")

    def after(self, *, is_confirmed: bool) -> Directory:
        entry = replace(self.ended.grant, grant=replace(self.ended.grant.grant, status=Status.REVOKED))
        end = replace(entry.ending("REVOKED"), acknowledged_at=datetime.now(UTC)) if is_confirmed else None
        grants = {**self.before.grants, entry.grant.grant_id: entry}
        return replace(self.before, grants=grants, endings={entry.topic: end} if end else {})

    def delivering(self, directory: Directory) -> Any:
        addresses = {(self.unique, "main"): self.target.dsn}
        schemas = self.ended.schemas
        return delivering(self.kafka, directory, kinds={"postgres": POSTGRES}, schemas=schemas, addresses=addresses)


@pytest.fixture
def both(kafka: Kafka, postgres: Any, unique: str, log: Log) -> Both:
    return Both(kafka, Target(kafka, postgres, unique, log), unique)


def ended_and_restored(both: Both) -> Callable[[], None]:
    """Both are delivered, the database is backed up, one grant ends; the way back to the backup."""
    both.fill()
    with both.delivering(both.before) as desk:
        both.target.is_exact("delivered")
        until(lambda: len(rows(both.target.dsn, ENDED)) == 10, 60, "and what will end")
        restore = both.target.back_up()
        desk.directory = both.after(is_confirmed=False)
        until(lambda: rows(both.target.dsn, ENDED) == {}, 60, "its rows are gone")
    return restore


def test_rows_of_an_ended_grant_do_not_come_back_with_a_backup_restored_while_delivery_is_down(both: Both) -> None:
    restore = ended_and_restored(both)
    restore()
    assert len(rows(both.target.dsn, ENDED)) == 10, "the backup has them"
    with both.delivering(both.after(is_confirmed=True)):
        until(lambda: rows(both.target.dsn, ENDED) == {}, 60, "they are removed again")
        both.target.is_exact("and nothing else is")


def test_rows_of_an_ended_grant_do_not_come_back_with_a_backup_restored_while_delivery_runs(both: Both) -> None:
    restore = ended_and_restored(both)
    with both.delivering(both.after(is_confirmed=True)):
        both.target.put(range(5, 15), "today")
        both.target.is_exact("today's rows")
        restore()
        both.target.is_exact("the other grant's rows")
        until(lambda: rows(both.target.dsn, ENDED) == {}, 60, "they are removed again")


def test_what_comes_back_unnoticed_is_looked_for_and_confirmed_once(both: Both) -> None:
    ended_and_restored(both)
    confirmed: list[tuple[str, int | None]] = []

    def confirm(ending: Ending, removed: int | None) -> None:
        confirmed.append((ending.topic, removed))

    endings = Endings(both.ended.schemas.__getitem__, confirm, MemoryIncidents())
    endings.past = list(both.after(is_confirmed=True).endings.values())
    setup = SinkSetup(
        subscriber=both.unique,
        sink=SinkConfig(name="main", kind="postgres"),
        address_of=lambda _owner, _name: both.target.dsn,
        schema_of=both.ended.schemas.__getitem__,
    )
    with closing(POSTGRES.build(setup)) as sink:
        endings.look(sink, 0.0)
        assert confirmed == []
        # As in a backup of before: no mark, and a row.
        mark = f"DELETE FROM _mesh_offsets WHERE topic = '{both.ended.topic}' AND partition = -1"
        run(both.target.dsn, mark, f"INSERT INTO {ENDED} (id, name, _mesh_token) VALUES (1, 'x', '0')")
        endings.look(sink, AGAIN_SECONDS - 1)
        assert confirmed == []
        endings.look(sink, AGAIN_SECONDS)
        endings.look(sink, 3 * AGAIN_SECONDS)
    assert confirmed == [(both.ended.topic, 1)]
    assert rows(both.target.dsn, ENDED) == {}
