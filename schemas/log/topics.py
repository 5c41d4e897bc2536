"""Topics: creation, read and write rights, and credentials; done by onboarding and by nobody else (SE-01).

Nothing here removes or grows a topic: partitions are for life (KF-07).
"""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from schemas.errors import MeshError, Misconfigured, Transient
from schemas.feed import AUDIT, CAPTURE, CONTROL, PROGRESS, dead_letter_topic
from schemas.log.kafka import Kafka

PROGRESS_SEGMENT_BYTES = 1 << 20
"""The smallest that Kafka takes."""
WITHIN_SECONDS = 30.0
DAY_MS = 24 * 3600 * 1000
FOREVER = -1
_NO_AUTHORIZER = (
    "Kafka has no authorizer, so {what} was not restricted: every client may read and write every topic; "
    "start the brokers with authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer and onboard again"
)
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The outcome of a request about rights: `is_enforced`, or else a `notice` for the operator."""

    is_enforced: bool
    notice: str = ""


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
    admin = _admin(kafka)
    existing = _partitions(admin, specs)
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


def ensure_control_topics(kafka: Kafka) -> Ensured:
    """The control topics (schemas/feed.py): one partition each, compacted, so that the last record of each key stays.

    But for the audit, of which every record stays. Of progress, which is saved every second, only the newest is of use: it is
    compacted as soon as a small segment is full, or a hop that starts would read a day's worth of it.
    """
    specs = dict.fromkeys(CONTROL, TopicSpec(partitions=1, tombstone_ms=DAY_MS))
    progress = replace(specs[CAPTURE], compaction_lag_ms=0, segment_bytes=PROGRESS_SEGMENT_BYTES)
    specs |= dict.fromkeys(PROGRESS, progress)
    return ensure_topics(kafka, {**specs, AUDIT: TopicSpec(partitions=1, is_compacted=False)})


def cluster_id(kafka: Kafka) -> str:
    """The id that a Kafka cluster was given when it was made. Raises Transient."""
    try:
        return _admin(kafka).list_topics(timeout=WITHIN_SECONDS).cluster_id or ""
    except KafkaException as error:
        raise _unwell(error) from error


def bounds(kafka: Kafka, topic: str, partition: int) -> tuple[int, int]:
    """A partition's first offset and the next one to be written. Raises Transient."""
    admin = _admin(kafka)
    place = TopicPartition(topic, partition)
    found: list[int] = []
    specs: list[Any] = [OffsetSpec.earliest(), OffsetSpec.latest()]
    for spec in specs:
        answer = _results(admin.list_offsets({place: spec}, request_timeout=WITHIN_SECONDS))
        found.append(answer[place].offset)
    return found[0], found[1]


def partitions_of(kafka: Kafka, topic: str) -> int:
    """How many partitions a topic has, 0 for none of that name. Raises Transient."""
    return _partitions(_admin(kafka), [topic]).get(topic, 0)


def offsets_since(kafka: Kafka, topic: str, partitions: Iterable[int], since: datetime) -> dict[int, int]:
    """Per partition the first offset written at this moment or later, the next one to be written where there is none."""
    admin = _admin(kafka)
    spec: Any = OffsetSpec.for_timestamp(int(since.timestamp() * 1000))
    answers = _results(
        admin.list_offsets(
            {TopicPartition(topic, number): spec for number in partitions}, request_timeout=WITHIN_SECONDS
        )
    )
    return {
        place.partition: answer.offset if answer.offset >= 0 else bounds(kafka, topic, place.partition)[1]
        for place, answer in answers.items()
    }


def allow_read(
    kafka: Kafka, user: str, topics: Iterable[str], group_prefix: str, own_groups: Iterable[str] = ()
) -> Access:
    """Let a user read exactly these topics, and join consumer groups whose name starts with the prefix (`sub.<user>.`).

    But for `own_groups`, by which the mesh itself delivers to that user: who joined one would take partitions, and changes, away.
    """
    rights = [(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, AclOperation.READ) for topic in topics]
    if not group_prefix.endswith("."):
        raise Misconfigured(group_prefix, "would also match longer names", fix=f"end it with a dot: {group_prefix}.")
    denied = [
        AclBinding(
            ResourceType.GROUP,
            group,
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation.ALL,
            AclPermissionType.DENY,
        )
        for group in own_groups
    ]
    if denied and _USER.fullmatch(user):  # first: a right must not be there before its bounds are
        admin = _admin(kafka)
        outcome(admin.create_acls(denied, request_timeout=WITHIN_SECONDS).values(), f"groups of {user}")
    rights.append((ResourceType.GROUP, group_prefix, ResourcePatternType.PREFIXED, AclOperation.READ))
    return _allow(kafka, user, rights, f"reading by {user}")


def withdraw_read(kafka: Kafka, user: str, topics: Iterable[str]) -> Access:
    """Take the right to read these topics away, when a grant ends. Safe to repeat."""
    filters = [
        AclBindingFilter(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation.READ,
            AclPermissionType.ALLOW,
        )
        for topic in topics
    ]
    admin = _admin(kafka)
    return outcome(admin.delete_acls(filters, request_timeout=WITHIN_SECONDS).values(), f"reading by {user}")


def allow_write(kafka: Kafka, user: str, topic_prefix: str) -> Access:
    """Let a user write to topics whose name starts with the prefix (`<agency>.`), idempotently."""
    if not topic_prefix.endswith("."):
        raise Misconfigured(topic_prefix, "would also match longer names", fix=f"end it with a dot: {topic_prefix}.")
    right = (ResourceType.TOPIC, topic_prefix, ResourcePatternType.PREFIXED, AclOperation.WRITE)
    return _allow(kafka, user, [right], f"writing to {topic_prefix}")


def create_scram_user(kafka: Kafka, user: str, password: str, *, iterations: int = 8192) -> None:
    """Create a SCRAM-SHA-512 user, or give an existing one a new password. Raises Misconfigured for an unfit name."""
    if not _USER.fullmatch(user):
        raise Misconfigured(f"user {user!r}", "is no user name", fix="use letters, digits, '.', '_' and '-'")
    if len(password) < 16:
        raise Misconfigured(f"user {user}", "has too short a password", fix="generate one of 16 characters or more")
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, iterations)
    change = UserScramCredentialUpsertion(user, credential, password.encode())
    admin = _admin(kafka)
    _results(admin.alter_user_scram_credentials([change], request_timeout=WITHIN_SECONDS))


def end_offsets(kafka: Kafka, topics: Iterable[str]) -> dict[str, int]:
    """Each topic's records ever written, by its end offsets; topics that do not exist are left out. Raises Transient."""
    admin = _admin(kafka)
    partitions = _partitions(admin, topics)
    places = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    ends = dict.fromkeys(partitions, 0)
    if places:
        wanted: dict[TopicPartition, Any] = dict.fromkeys(places, OffsetSpec.latest())
        futures = admin.list_offsets(wanted, request_timeout=WITHIN_SECONDS)
        for place, answer in _results(futures).items():
            ends[place.topic] += answer.offset
    return ends


def _admin(kafka: Kafka) -> AdminClient:
    """Keep it in a variable until the answer is there: its futures fail when it is collected before."""
    return AdminClient(kafka.client({"log_level": 0}))


def _partitions(admin: AdminClient, topics: Iterable[str]) -> dict[str, int]:
    """Partition counts of those topics that exist. Asks for all topics: asking for one by name could create it."""
    try:
        known = admin.list_topics(timeout=WITHIN_SECONDS).topics
    except KafkaException as error:
        raise _unwell(error) from error
    return {topic: len(known[topic].partitions) for topic in topics if topic in known and known[topic].partitions}


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
                raise _unwell(error, topic) from error
        else:
            created.append(topic)
    return created


def _correct(admin: AdminClient, specs: Mapping[str, TopicSpec]) -> list[str]:
    """Set what differs: a topic that a client created by accident would drop old changes silently (invariant 9)."""
    if not specs:
        return []
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in specs]
    wrong: list[ConfigResource] = []
    for resource, present in _results(admin.describe_configs(resources, request_timeout=WITHIN_SECONDS)).items():
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
        _results(admin.incremental_alter_configs(wrong, request_timeout=WITHIN_SECONDS))
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
    present = _partitions(admin, specs)
    behind = {topic for topic, spec in specs.items() if present.get(topic) != spec.partitions}
    places = [TopicPartition(topic, number) for topic in set(specs) - behind for number in range(present[topic])]
    latest: Any = OffsetSpec.latest()
    wanted: dict[TopicPartition, Any] = dict.fromkeys(places, latest)
    questions = admin.list_offsets(wanted, request_timeout=WITHIN_SECONDS) if places else {}
    for place, future in questions.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() in _FIXES:
                raise _unwell(error, place.topic) from error
            behind.add(place.topic)
    return behind


def _allow(kafka: Kafka, user: str, rights: Iterable[tuple[Any, str, Any, Any]], what: str) -> Access:
    if not _USER.fullmatch(user):
        raise Misconfigured(f"user {user!r}", "is no user name", fix="use letters, digits, '.', '_' and '-'")
    bindings = [
        AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for kind, name, pattern, operation in rights
    ]
    admin = _admin(kafka)
    return outcome(admin.create_acls(bindings, request_timeout=WITHIN_SECONDS).values(), what)


def outcome(futures: Iterable[Future[Any]], what: str) -> Access:
    """Wait for what was asked about rights. Raises Transient, Misconfigured."""
    for future in futures:
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.SECURITY_DISABLED:
                return Access(is_enforced=False, notice=_NO_AUTHORIZER.format(what=what))
            raise _unwell(error, what) from error
    return Access(is_enforced=True)


def _results(futures: Mapping[Any, Future[Any]]) -> dict[Any, Any]:
    try:
        return {subject: future.result() for subject, future in futures.items()}
    except KafkaException as error:
        raise _unwell(error) from error


_FIXES: Mapping[int, str] = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "give the onboarding user Create, Describe and Alter on the cluster",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give the onboarding user Create, Describe and Alter on the cluster",
    KafkaError.INVALID_REPLICATION_FACTOR: "ask for no more replicas than there are brokers",
    KafkaError.TOPIC_EXCEPTION: "name it as schemas/feed.py says",
    KafkaError.POLICY_VIOLATION: "ask the brokers' operator",
}


def _unwell(error: KafkaException, what: str = "kafka") -> MeshError:
    """The mesh's error for Kafka's: Misconfigured when asking again cannot help, Transient otherwise."""
    cause = error.args[0]
    if fix := _FIXES.get(cause.code()):
        return Misconfigured(what, cause.str(), fix=fix)
    return Transient(f"{what}: {cause.str()}", fix="are the brokers up, and is the bootstrap address right?")
