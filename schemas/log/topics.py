"""Topics: created, and put right, by onboarding and by nobody else (SE-01).

Nothing here removes a topic. Partitions are for life (KF-07), but for topics whose readers know how to divide anew (`grow_topics`).
"""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from schemas.errors import Misconfigured, Transient
from schemas.feed import AUDIT, CAPTURE, CONTROL, PROGRESS, dead_letter_topic
from schemas.log.admin import FIXES, WITHIN_SECONDS, admin_client, partition_counts, results, unwell
from schemas.log.entering import must_be_let_in
from schemas.log.kafka import Kafka

PROGRESS_SEGMENT_BYTES = 1 << 20
"""The smallest that Kafka takes."""
DAY_MS = 24 * 3600 * 1000
FOREVER = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """What a topic is to be. Compacted topics are state-like: the last change of each key stays.

    `retention_ms` counts for topics that are not compacted; FOREVER keeps all. `replication_factor` and
    `min_insync_replicas` None leave it to the brokers' defaults. `tombstone_ms` is how long a delete stays readable: longer
    than the longest outage that a subscriber may have (KF-08).
    `compaction_lag_ms` is how long every change stays, the same unless said otherwise.
    """

    partitions: int = 4
    is_compacted: bool = True
    retention_ms: int = FOREVER
    min_insync_replicas: int | None = None
    replication_factor: int | None = None
    tombstone_ms: int = 7 * DAY_MS
    compaction_lag_ms: int | None = None
    segment_bytes: int | None = None

    def config(self) -> dict[str, str]:
        """The topic's settings, in Kafka's names."""
        if self.is_compacted:
            # Within the longest outage a reader sees every change: one that left a filter and came back did leave.
            outage_ms = str(self.tombstone_ms)
            lag_ms = outage_ms if self.compaction_lag_ms is None else str(self.compaction_lag_ms)
            config = {"cleanup.policy": "compact", "delete.retention.ms": outage_ms, "min.compaction.lag.ms": lag_ms}
        else:
            config = {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}
        if self.segment_bytes is not None:
            config["segment.bytes"] = str(self.segment_bytes)
        if self.min_insync_replicas is not None:
            config["min.insync.replicas"] = str(self.min_insync_replicas)
        return config


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensured:
    """What `ensure_topics` had to do: topics it created, and topics whose settings it put right."""

    created: tuple[str, ...]
    corrected: tuple[str, ...]


def with_dead_letters(partitions: Mapping[str, int]) -> dict[str, TopicSpec]:
    """Topics with so many partitions, and their dead-letter twins."""
    specs = {topic: TopicSpec(partitions=count) for topic, count in partitions.items()}
    twins = {dead_letter_topic(topic): TopicSpec(partitions=1, is_compacted=False) for topic in partitions}
    return specs | twins


def ensure_topics(kafka: Kafka, specs: Mapping[str, TopicSpec]) -> Ensured:
    """Bring the topics into being, or see that they are as they should; returns once every partition has a leader.

    Settings of an existing topic are put right. Raises Misconfigured, before anything is created, when one exists with
    another number of partitions; Transient when the brokers do not answer in time.
    """
    admin = admin_client(kafka)
    existing = partition_counts(admin, specs)
    for topic, partitions in existing.items():
        if partitions != specs[topic].partitions:
            raise Misconfigured(
                topic,
                f"has {partitions} partitions, and {specs[topic].partitions} are asked for; "
                "a change would send a key's next change to another partition and break its order",
                fix=f"ask for {partitions} partitions, or onboard the feed under a new name and replay it there",
            )
    missing = [topic for topic in specs if topic not in existing]
    created = _create(admin, {topic: specs[topic] for topic in missing})
    _wait_until_led(admin, specs)
    corrected = _correct(admin, {topic: specs[topic] for topic in specs if topic not in created})
    return Ensured(created=tuple(created), corrected=tuple(corrected))


def grow_topics(kafka: Kafka, topic: str, partitions: int) -> None:
    """Let a topic have so many partitions; it may have them already. Returns once every partition has a leader.

    Whoever writes by key sends some keys elsewhere from then on: for the topics of the flows' tasks alone, whose readers see to it.
    Raises Misconfigured when it has more, Transient.
    """
    admin = admin_client(kafka)
    present = partition_counts(admin, [topic]).get(topic, 0)
    if present > partitions:
        raise Misconfigured(topic, f"has {present} partitions, more than {partitions}", fix="partitions only grow")
    if present < partitions:
        results(admin.create_partitions([NewPartitions(topic, partitions)], operation_timeout=WITHIN_SECONDS))
    _wait_until_led(admin, {topic: TopicSpec(partitions=partitions)})


def ensure_control_topics(kafka: Kafka) -> Ensured:
    """The control topics (schemas/feed.py): one partition each, compacted, so that the last record of each key stays.

    But for the audit, of which every record stays. Of progress, which is saved every second, only the newest is of use: it is
    compacted as soon as a small segment is full, or a hop that starts would read a day's worth of it.
    """
    specs = dict.fromkeys(CONTROL, TopicSpec(partitions=1, tombstone_ms=DAY_MS))
    progress = replace(specs[CAPTURE], compaction_lag_ms=0, segment_bytes=PROGRESS_SEGMENT_BYTES)
    specs |= dict.fromkeys(PROGRESS, progress)
    must_be_let_in(kafka)
    return ensure_topics(kafka, {**specs, AUDIT: TopicSpec(partitions=1, is_compacted=False)})


def _create(admin: AdminClient, specs: Mapping[str, TopicSpec]) -> list[str]:
    if not specs:
        return []
    wanted = [
        NewTopic(
            topic,
            num_partitions=spec.partitions,
            replication_factor=spec.replication_factor or -1,
            config=spec.config(),
        )
        for topic, spec in specs.items()
    ]
    created: list[str] = []
    for topic, future in admin.create_topics(wanted, operation_timeout=WITHIN_SECONDS).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody onboards the same: that is fine
                raise unwell(error, topic) from error
        else:
            created.append(topic)
    return created


def _correct(admin: AdminClient, specs: Mapping[str, TopicSpec]) -> list[str]:
    """Set what differs: a topic that a client created by accident would drop old changes silently (invariant 9)."""
    if not specs:
        return []
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in specs]
    wrong: list[ConfigResource] = []
    for resource, present in results(admin.describe_configs(resources, request_timeout=WITHIN_SECONDS)).items():
        differing = {
            name: value for name, value in specs[resource.name].config().items() if present[name].value != value
        }
        if differing:
            entries = [
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in differing.items()
            ]
            wrong.append(ConfigResource(ConfigResource.Type.TOPIC, resource.name, incremental_configs=entries))
    if wrong:
        results(admin.incremental_alter_configs(wrong, request_timeout=WITHIN_SECONDS))
    return [resource.name for resource in wrong]


def _wait_until_led(admin: AdminClient, specs: Mapping[str, TopicSpec]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while behind := _not_led(admin, specs):
        if time.monotonic() > deadline:
            raise Transient(
                f"{', '.join(sorted(behind))}: no leader for every partition after {WITHIN_SECONDS:.0f} s",
                fix="look into the brokers' logs",
            )
        time.sleep(0.05)


def _not_led(admin: AdminClient, specs: Mapping[str, TopicSpec]) -> set[str]:
    """Topics that cannot be used yet. Metadata names a leader before that broker knows: so each leader is asked."""
    present = partition_counts(admin, specs)
    behind = {topic for topic, spec in specs.items() if present.get(topic) != spec.partitions}
    places = [TopicPartition(topic, number) for topic in set(specs) - behind for number in range(present[topic])]
    latest: Any = OffsetSpec.latest()
    wanted: dict[TopicPartition, Any] = dict.fromkeys(places, latest)
    questions = admin.list_offsets(wanted, request_timeout=WITHIN_SECONDS) if places else {}
    for place, future in questions.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() in FIXES:
                raise unwell(error, place.topic) from error
            behind.add(place.topic)
    return behind
