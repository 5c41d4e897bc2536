"""Grants that cannot be read while Kafka answers: feeds would flow by grants that may be over, so the process ends."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas.errors import Transient
from schemas.feed import GRANTS
from schemas.log.control import follower, records
from schemas.log.control.follower import _Hearing


class Cluster:
    """A client of a cluster whose grants have no leader; `is_up` is whether the brokers answer."""

    brokers = (1,)

    def __init__(self) -> None:
        self.is_up = True
        self.refusal = KafkaError.LEADER_NOT_AVAILABLE

    def position(self, places: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(place.topic, place.partition, 7) for place in places]

    def get_watermark_offsets(self, *_: Any) -> tuple[int, int]:
        raise KafkaException(KafkaError(self.refusal))

    def list_topics(self, timeout: float) -> Cluster:
        if not self.is_up:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return self


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    monkeypatch.setattr(follower.time, "monotonic", lambda: clock[0])
    return clock


def hearing(cluster: Cluster, told: list[str]) -> Any:
    made = _Hearing(cluster)  # pyright: ignore[reportArgumentType]
    made.deaf = told.append
    return made


def look_for(looks: Any, now: list[float], seconds: float) -> None:
    for _ in range(int(seconds / follower.HEARING_EVERY_SECONDS)):
        now[0] += follower.HEARING_EVERY_SECONDS
        looks.look()


def test_grants_without_a_leader_are_told_and_in_the_end_stop_the_process(now: list[float]) -> None:
    told: list[str] = []
    looks = hearing(Cluster(), told)
    look_for(looks, now, follower.DEAF_SECONDS)
    assert told == []
    look_for(looks, now, follower.HEARING_EVERY_SECONDS)
    assert len(told) == 1
    assert "grants cannot be read for 35 s" in told[0]
    with pytest.raises(Transient, match=f"Kafka answers, yet {GRANTS} cannot be read"):
        look_for(looks, now, 2 * follower.DEAF_SECONDS)


@pytest.mark.parametrize(
    "refusal",
    [
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._DESTROY_BROKER,
        KafkaError._ALL_BROKERS_DOWN,
    ],
)
def test_while_no_broker_answers_nothing_can_flow_and_the_process_stays(now: list[float], refusal: int) -> None:
    told: list[str] = []
    cluster = Cluster()
    cluster.is_up, cluster.refusal = False, refusal
    looks = hearing(cluster, told)
    look_for(looks, now, 600)
    assert len(told) == 1
    cluster.is_up = True  # the moment of its coming back is no reason to end
    look_for(looks, now, follower.HEARING_EVERY_SECONDS)


def test_a_broker_that_comes_back_before_it_leads_its_partitions_ends_nobody(now: list[float]) -> None:
    cluster = Cluster()
    cluster.is_up = False
    told: list[str] = []
    looks = hearing(cluster, told)
    look_for(looks, now, 600)
    cluster.is_up, cluster.refusal = True, KafkaError._UNKNOWN_PARTITION
    look_for(looks, now, follower.HEARING_EVERY_SECONDS)
    assert len(told) == 1


class Growing(Cluster):
    """One whose grants end with the mark of a transaction, which is no record: no reader's position comes behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.high = 7

    def get_watermark_offsets(self, *_: Any) -> tuple[int, int]:
        return 0, self.high


def test_a_grant_that_was_given_in_a_transaction_is_heard_at_its_end_and_one_that_does_not_come_is_not(
    now: list[float],
) -> None:
    cluster = Growing()
    looks = hearing(cluster, [])
    look_for(looks, now, follower.HEARING_EVERY_SECONDS)
    cluster.high = looks.ended_at = 9
    look_for(looks, now, 600)
    cluster.high = 11
    with pytest.raises(Transient, match="the newest grants do not come"):
        look_for(looks, now, 600)


class Interrupted:
    """A client that says of a broker that comes back what it says of one, and then has the one record that stands."""

    def __init__(self, *refusals: int) -> None:
        self._answers: list[Answer] = [*map(Answer, refusals), Answer(None)]

    def assign(self, _: Any) -> None:
        """As of the topic's start."""

    def position(self, places: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(place.topic, place.partition, 1) for place in places]

    def poll(self, _: float) -> Answer:
        return self._answers.pop(0)


class Answer:
    """A record of a control topic, or why there is none yet."""

    def __init__(self, refusal: int | None) -> None:
        self._error = None if refusal is None else KafkaError(refusal)

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return GRANTS

    def key(self) -> bytes:
        return b"one"

    def value(self) -> bytes:
        return b"{}"


def test_what_stands_is_read_on_while_a_broker_comes_back() -> None:
    client: Any = Interrupted(KafkaError._TRANSPORT, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._ALL_BROKERS_DOWN)
    assert list(records.read_to(client, {GRANTS: 1}, {}, 30)) == [(GRANTS, "one", {})]


def test_what_may_not_be_read_is_not_waited_for() -> None:
    client: Any = Interrupted(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(Transient, match="control topics"):
        list(records.read_to(client, {GRANTS: 1}, {}, 30))
