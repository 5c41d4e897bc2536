"""The clock of the flows: how far event time may advance while a worker is behind with some partitions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from schemas.agreement.directory import Directory
from schemas.change import Batch, Record
from schemas.log.lane import Headers
from streams.engine.folding import Folding
from streams.engine.inbox.message import FACT, TICK, WATERMARKS, message_key, pack, unpack
from streams.engine.runner import Runner, RunnerSetting
from streams.engine.task import TaskTopics
from streams.operators.flow import Flow, Fold, Input, Outcome
from tests.stage.delivering import PERSON, OutFeed
from tests.stage.flow_process import Quiet
from tests.stage.rehearsal import MemoryStore, writing

INBOX = "inbox"
MOMENT = {"type": "long", "logicalType": "timestamp-micros"}
BORN = {"name": "born", "type": ["null", MOMENT]}
WRITTEN = {"name": "updated_at", "type": ["null", MOMENT]}


class Sent:
    """An outlet whose records can be looked at."""

    def __init__(self) -> None:
        self.clocks: list[int] = []
        self.holds: dict[str, int | None] = {}

    def append(
        self, topic: str, key: bytes | None, value: bytes | None, *, partition: int = -1, headers: Headers | None = None
    ) -> None:
        message: Sequence[Any] = unpack(value or b"")
        if message[0] == TICK:
            self.clocks.append(message[1] // 1_000_000)
        elif message[0] == WATERMARKS:
            self.holds |= {place: bound and bound // 1_000_000 for place, bound in message[1].items()}

    def flush(self, seconds: float) -> None: ...
    def settle(self, seconds: float) -> None: ...


class Told:
    """Every flow has its feeds' past."""

    def load(self) -> dict[str, Any]:
        return {}

    def save(self, key: str, record: Any) -> None: ...


class Written:
    """A task's writer; what it is given is committed."""

    def write(self, records: Iterable[Any], last: Any) -> int:
        return len(list(records))

    def close(self) -> None: ...


class Empty:
    """A changelog without a record."""

    def bounds(self, partition: int) -> tuple[int, int]:
        return 0, 0

    def read(self, partition: int, start: int, end: int) -> Iterator[Batch]:
        return iter(())


class Rig:
    """A worker with a feed of two partitions and an inbox of one."""

    def __init__(self, folder: Path, *, is_replay: bool = False, event_time: str | None = "born") -> None:
        self.feed = OutFeed("rig", "town.resident", [*PERSON, BORN, WRITTEN])
        self.flow = Flow(
            name="rig",
            inputs=[Input(feed=self.feed.feed, subjects=lambda _: ["one:1"], event_time=event_time)],
            folds={"one": Fold(lambda _: Outcome())},
            outputs={"rig.queue": ["conflict_id"]},
            queue="rig.queue",
        )
        self.onboarded = {self.feed.feed: self.feed.entry, "rig.queue": self.feed.entry}
        self.taken: list[tuple[int, int]] = []
        self.later = 0.0
        self.sent = Sent()
        self.runner = Runner(
            RunnerSetting(
                flows=[self.flow],
                directory=self._directory,
                schema_of=self.feed.schemas.__getitem__,
                open_outlet=lambda: cast("Any", self.sent),
                open_writer=lambda _: Written(),
                changelog=cast("Any", Empty()),
                topics=TaskTopics(1, INBOX, "state"),
                data_dir=folder,
                progress=Told(),
                replay=self._replay,
                observer=Quiet(),
                is_replay=is_replay,
                now=lambda: time.time() + self.later,
            )
        )
        self.following = {(self.feed.feed, number): 0 for number in (0, 1)}

    def _directory(self) -> Directory:
        return Directory(feeds=self.onboarded, agencies=writing(self.flow, self.onboarded))

    def _replay(self, _topic: str, _partition: int, start: int, end: int) -> Iterator[Batch]:
        self.taken.append((start, end))
        return iter(())

    def commit(
        self, partition: int, second: int, born: int | None = None, written: int | None = None, op: str = "c"
    ) -> None:
        """A row is committed so many seconds after the beginning, and taken by the worker.

        `born` is its business time, `written` when its department says that it wrote it.
        """
        place = (self.feed.feed, partition)
        row = {"id": 1, "born": born and born * 1_000_000, "updated_at": written and written * 1_000_000}
        record = self.feed.record(op, row, committed_at_ms=second * 1_000)
        record = record._replace(offset=self.following[place])
        self.following[place] += 1
        self.runner.handle([Batch(topic=self.feed.feed, partition=partition, records=[record])])

    def told(self, *, is_tick: bool = False, at: float = 0.0) -> None:
        """A message of the flow, written at this moment or now, is folded."""
        place = (INBOX, 0)
        offset = self.following.setdefault(place, 0)
        self.following[place] += 1
        key = message_key("rig", "" if is_tick else "one:1")
        value = pack([TICK, 1] if is_tick else [FACT, self.feed.feed, str(offset), "p", 0, 0, {"id": offset}, False])
        record = Record(offset, key, value, None, round((at or time.time()) * 1_000))
        self.runner.handle([Batch(topic=INBOX, partition=0, records=[record])])

    def holds(self, *behind: int) -> dict[str, int | None]:
        """What a look tells of these partitions, which hold more, and of all others, as far as it is news."""
        self.sent.holds.clear()
        self.clock(*behind)
        return dict(self.sent.holds)

    def clock(self, *behind: int, inbox: bool = False) -> int | None:
        """The second that a look sends to the tasks while these partitions of the feed, and perhaps the inbox, hold more."""
        self.sent.clocks.clear()
        self.runner.idle(self.following, {*((self.feed.feed, number) for number in behind), *[(INBOX, 0)] * inbox})
        return self.sent.clocks[-1] if self.sent.clocks else None


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_flow_of_which_no_output_is_onboarded_reads_nothing_and_takes_the_past_once_one_is(rig: Rig) -> None:
    queue = rig.onboarded.pop("rig.queue")
    assert rig.runner.topics() == {INBOX}
    rig.commit(0, 100)
    assert rig.clock() is None
    assert rig.taken == []
    rig.onboarded["rig.queue"] = queue
    assert rig.runner.topics() == {INBOX, rig.feed.feed}
    rig.commit(0, 110)
    assert rig.taken == [(0, 1)], "what it was not there for"
    assert rig.clock() == 110


def test_the_clock_is_the_newest_commit_where_nothing_is_left_to_read(rig: Rig) -> None:
    rig.commit(0, 100)
    rig.commit(1, 40)
    assert rig.clock() == 100
    assert rig.clock() is None, "it stands still while nothing happens"


def test_the_clock_waits_for_a_partition_that_holds_more(rig: Rig) -> None:
    rig.commit(0, 100)
    rig.commit(1, 40)
    assert rig.clock(1) == 40
    rig.commit(1, 70)
    assert rig.clock(1) == 70
    assert rig.clock() == 100


def test_the_clock_stands_still_while_a_partition_was_never_heard_of(rig: Rig) -> None:
    rig.commit(0, 100)
    assert rig.clock(1) is None
    rig.commit(1, 30)
    assert rig.clock(1) == 30


def test_the_clock_does_not_go_back(rig: Rig) -> None:
    rig.commit(0, 100)
    assert rig.clock() == 100
    rig.commit(1, 40)
    assert rig.clock(1) is None
    assert rig.clock() is None


def test_business_time_moves_the_clock_no_further_than_the_commit(rig: Rig) -> None:
    rig.commit(0, 100, born=60)
    assert rig.clock() == 60
    rig.commit(0, 110)
    assert rig.clock() == 110, "a row without its date has its commit's"
    rig.commit(0, 120, born=900)
    assert rig.clock() == 120


def test_where_a_past_is_replayed_only_business_time_moves_the_clock(tmp_path: Path) -> None:
    rig = Rig(tmp_path, is_replay=True)
    now = round(time.time())
    rig.commit(0, now, born=60)
    rig.commit(1, now)
    assert rig.clock(0, 1) == 60, "what is seconds behind does not hold it up"
    rig.commit(1, now - 60, born=90)
    assert rig.clock(1) is None, "what is a minute behind does"
    assert rig.clock() == 90


def test_where_a_past_is_replayed_the_clock_waits_for_what_was_written_and_is_unread(tmp_path: Path) -> None:
    rig = Rig(tmp_path, is_replay=True)
    now = round(time.time())
    rig.commit(0, now, written=100)
    rig.commit(1, now - 60, written=40)
    assert rig.clock(1) == 40, "it goes on, however far the worker is behind: boards are drawn up, deadlines come"
    rig.commit(1, now - 50, born=20, written=70)
    assert rig.clock(1) == 70, "a business date says nothing of what else is unread"
    assert rig.clock() == 100


def test_where_a_past_is_replayed_the_clock_stands_still_while_a_table_is_copied(tmp_path: Path) -> None:
    rig = Rig(tmp_path, is_replay=True)
    now = round(time.time())
    rig.commit(0, now, written=100)
    rig.commit(1, now - 60, written=40, op="r")
    assert rig.clock(1) is None, "the next row of the copy may have been written earlier"
    rig.later = 2.0
    assert rig.clock() == 100


def test_where_a_past_is_replayed_the_clock_waits_until_all_that_follows_from_a_copy_is_folded(tmp_path: Path) -> None:
    rig, now = Rig(tmp_path, is_replay=True), time.time()
    rig.following[INBOX, 0] = 0
    rig.commit(0, round(now), written=100, op="r")
    assert rig.clock() is None, "the inbox is not known to hold more yet"
    rig.told(at=now)
    rig.later = 2.0
    assert rig.clock(inbox=True) is None, "a case waits for its applicant's claim"
    rig.later = 60.0
    assert rig.clock(inbox=True) is None
    rig.told(at=now + 60)
    assert rig.clock(inbox=True) == 100, "what is seconds behind is live"
    rig.commit(0, round(now + 60), written=120, op="r")
    rig.later = 62.0
    rig.told(at=now + 62)
    assert rig.clock() == 100, "what a fold has just sent is not known to be unread"
    rig.later = 64.0
    assert rig.clock() == 120, "nothing is left to fold"
    rig.runner.close()


def test_where_a_past_is_replayed_a_feed_that_says_nothing_of_time_holds_nothing_up(tmp_path: Path) -> None:
    rig = Rig(tmp_path, is_replay=True, event_time=None)
    now = round(time.time())
    rig.commit(0, now, written=100)
    rig.commit(1, now - 60)
    assert rig.clock(1) == 100


def test_what_is_told_after_the_last_tick_is_owed_one_at_the_same_time(rig: Rig) -> None:
    rig.commit(0, 100)
    assert rig.clock() == 100
    rig.told()
    assert rig.clock() == 100, "subjects that are folded at ticks would wait until somebody commits"
    rig.told(is_tick=True)
    assert rig.clock() is None, "a tick alone calls for no other"
    rig.runner.close()


def test_other_workers_are_told_how_far_time_may_go_because_of_what_is_unread_here(rig: Rig) -> None:
    feed = rig.feed.feed
    rig.commit(0, 100)
    assert rig.holds(0, 1) == {f"{feed}|0": 100, f"{feed}|1": 0}, "nothing was heard of the second yet"
    rig.commit(1, 70)
    assert rig.holds(0, 1) == {f"{feed}|1": 70}, "only what is news"
    assert rig.holds(1) == {f"{feed}|0": None}
    rig.following.pop((feed, 1))
    assert rig.holds() == {}, "what another worker reads now is its to tell"


def test_no_deadline_passes_while_another_worker_has_evidence_to_read() -> None:
    """One worker is through with its feed; the other one lags. The task hears both."""
    store = MemoryStore()
    fold = Folding([flow()], store)

    def told(*messages: list[Any]) -> int:
        for effects, _ in fold.apply(
            [(offset, message_key("rig", ""), pack(message)) for offset, message in enumerate(messages)]
        ):
            store.write(effects.changes)
        fold.forget()  # what it remembers has to be in the store
        return fold._clock(flow()).at

    ahead, lags = [TICK, 100], [WATERMARKS, {"a.t|0": 40, "|0": None}]
    assert told(lags) == 0
    assert told(ahead) == 40
    assert told([WATERMARKS, {"a.t|0": 70}]) == 70, "it follows without another tick"
    assert told([WATERMARKS, {"a.t|0": 30}]) == 70, "it does not go back"
    assert told([WATERMARKS, {"a.t|0": None}]) == 100
    assert told([WATERMARKS, {"gone.t|0": 0}]) == 100
    assert told([TICK, 110]) == 110, "a feed that the flow no longer reads holds nothing up"


def flow() -> Flow:
    return Flow(
        name="rig",
        inputs=[Input(feed="a.t", subjects=lambda _: ["one:1"])],
        folds={"one": Fold(lambda _: Outcome())},
        outputs={"rig.queue": ["conflict_id"]},
        queue="rig.queue",
    )
