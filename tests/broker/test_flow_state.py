"""A task's state on the real broker: restored from nothing, from a checkpoint, from one that may not be trusted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ops.run.flow_worker import StateChangelog, topic_specs
from schemas.errors import Transient
from schemas.log.kafka import Kafka
from schemas.log.topics import ensure_topics
from schemas.log.transaction import TransactionWriter
from schemas.log.writer import Log
from streams.engine.inbox.message import pack
from streams.engine.state import POSITION, State

ENTRIES = 200_000
A_SECOND = 33_000  # ten million in five minutes, on a machine that does other things as well


@pytest.fixture
def changelog(kafka: Kafka, unique: str) -> StateChangelog:
    ensure_topics(kafka, topic_specs(1, inbox=f"{unique}.inbox", state=f"{unique}.state"))
    return StateChangelog(kafka, f"{unique}.state")


@pytest.fixture
def writer(kafka: Kafka, unique: str) -> Iterator[TransactionWriter]:
    with closing(TransactionWriter(kafka, f"{unique}-0")) as made:
        yield made


def write(
    writer: TransactionWriter, changelog: StateChangelog, changes: dict[bytes, bytes | None], position: int
) -> int:
    records = [(changelog.topic, key, value, 0, None) for key, value in changes.items()]
    return writer.write(records, (changelog.topic, POSITION, pack(position), 0, None))


def header(flow: str, subject: str) -> bytes:
    return f"s{flow}\0{subject}\0h".encode()


def test_what_was_committed_comes_back_with_its_timers(
    changelog: StateChangelog, writer: TransactionWriter, tmp_path: Path
) -> None:
    write(writer, changelog, {header("f", "a:1"): pack([{}, 7]), b"sf\0a:1\0fx\0y": pack([1]), b"kf": pack(3)}, 10)
    write(writer, changelog, {header("f", "a:1"): pack([{}, 9]), b"sf\0a:1\0fx\0y": None}, 20)
    with closing(State(tmp_path / "0", 0, changelog)) as state:
        assert state.position == 20
        timer = b"wf\0" + (9).to_bytes(8, "big") + b"a:1"
        entries = {key: value for key, value in state.scan(b"") if key[:1] not in b"@!"}
        assert entries == {header("f", "a:1"): pack([{}, 9]), b"kf": pack(3), timer: b""}


def test_a_checkpoint_spares_what_it_has(changelog: StateChangelog, writer: TransactionWriter, tmp_path: Path) -> None:
    with closing(State(tmp_path / "0", 0, changelog)) as state:
        for number in range(5):
            changes: dict[bytes, bytes | None] = {b"k%d" % number: b"1"}
            state.take(changes, number + 1, write(writer, changelog, changes, number + 1))
    write(writer, changelog, {b"k9": b"2"}, 6)
    told: list[tuple[int, int]] = []
    with closing(State(tmp_path / "0", 0, changelog, restored=lambda *seen: told.append(seen))) as state:
        assert (state.get(b"k4"), state.get(b"k9"), state.position) == (b"1", b"2", 6)
    assert told
    assert told[-1][1] <= 4, "only what came behind the checkpoint, and the marks of transactions, is read"


def test_an_old_checkpoint_is_not_trusted(changelog: StateChangelog, writer: TransactionWriter, tmp_path: Path) -> None:
    now = [1_000_000.0]
    with closing(State(tmp_path / "0", 0, changelog, now=lambda: now[0])) as state:
        write(writer, changelog, {b"k1": b"1"}, 1)
        # The local store has an entry whose deletion the changelog has forgotten since.
        state.take({b"ghost": b"1"}, 1, 0)
    now[0] += 5 * 24 * 3600
    with closing(State(tmp_path / "0", 0, changelog, now=lambda: now[0])) as state:
        assert (state.get(b"ghost"), state.get(b"k1")) == (None, b"1")


def test_an_aborted_transaction_leaves_no_trace(
    kafka: Kafka, changelog: StateChangelog, writer: TransactionWriter, tmp_path: Path, unique: str
) -> None:
    write(writer, changelog, {b"k1": b"1"}, 1)

    def broken() -> Iterator[tuple[str, bytes, bytes, int, None]]:
        yield changelog.topic, b"k2", b"2", 0, None
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        writer.write(broken(), (changelog.topic, POSITION, pack(2), 0, None))
    with closing(State(tmp_path / "0", 0, changelog)) as state:
        assert (state.get(b"k2"), state.position) == (None, 1)
    write(writer, changelog, {b"k3": b"3"}, 2)


def test_a_fenced_writer_cannot_write_any_more(
    kafka: Kafka, changelog: StateChangelog, writer: TransactionWriter, unique: str
) -> None:
    write(writer, changelog, {b"k1": b"1"}, 1)
    with closing(TransactionWriter(kafka, f"{unique}-0")) as successor:
        with pytest.raises(Transient):
            write(writer, changelog, {b"k2": b"zombie"}, 2)
        write(successor, changelog, {b"k2": b"2"}, 2)


def test_a_fenced_writer_closes_like_any_other(
    kafka: Kafka, changelog: StateChangelog, writer: TransactionWriter, unique: str
) -> None:
    producer = writer._producer
    with closing(TransactionWriter(kafka, f"{unique}-0")):
        producer.begin_transaction()
        producer.produce(changelog.topic, b"zombie", b"k")
        for _ in range(50):  # the refusal is on its way to the client, and nobody asks for it
            producer.list_topics(timeout=10)
        writer.close()
    assert not any(batch.records for batch in changelog.read(0, *changelog.bounds(0)))


def test_restoring_is_batched(
    kafka: Kafka, changelog: StateChangelog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Log(kafka, client_id="tests")) as log:
        value = b"v" * 250
        for number in range(ENTRIES):
            log.append(changelog.topic, b"sf\0a:%d\0rfeed\0x" % number, value, partition=0)
        log.flush(60)
    started = time.process_time()
    with closing(State(tmp_path / "0", 0, changelog)) as state:
        seconds = time.process_time() - started  # of processor: beside three other workers the wall clock says little
        assert state.get(b"sf\0a:%d\0rfeed\0x" % (ENTRIES - 1)) == value
        assert sum(1 for _ in state.scan(b"s")) == ENTRIES
    with capsys.disabled():
        print(f"\n  restored {ENTRIES / seconds:,.0f} entries/s; ten million in {1e7 / ENTRIES * seconds / 60:.1f} min")  # noqa: T201
    assert ENTRIES / seconds > A_SECOND
