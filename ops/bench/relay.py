"""Hop 2 beside its peer: a feed in Kafka, cut for one grant by our stream worker and by Quix Streams, and for several by ours.

The feed is what our capture wrote, copied anew for each measurement, since a worker reads a feed once. Each grant lets half of the
records through and 7 of 12 columns, no two grants the same. Quix Streams decodes and encodes with fastavro and does that
for one grant; our worker does its checks and keeps track of rows that leave the filter besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from confluent_kafka import Consumer, Message, TopicPartition

from ops.bench import subject
from ops.bench.capture import PARTITIONS, backlog, by_mesh
from ops.bench.figure import Figures
from ops.bench.growth import Drained, Growth, drain
from ops.bench.peers import quix
from ops.bench.scale import Scale
from ops.bench.stage import Stage
from schemas.agreement.directory import Directory
from schemas.errors import Transient
from schemas.log.control.follower import read_directory
from schemas.log.kafka import Kafka
from schemas.log.offsets import end_offsets
from schemas.log.topics import TopicSpec, ensure_topics
from schemas.log.writer import Log

_FRAME = 5  # magic byte and schema id


def measure_egress(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`egress_vs_quix` and `egress_extra_grant`."""
    python = quix.environment(stage) if scale.has_peers else None
    with backlog(stage, "egress", scale.changes) as waiting:
        by_mesh(waiting)
        for run in range(1, scale.runs + 1):
            by_quix: Drained | None = None
            if python is not None and run % 2 == 0:
                by_quix = _by_quix(stage, python, waiting.feed, scale, run)
            ours = {
                count: cut_by_mesh(stage, waiting.feed, scale, f"egress{run}", count)
                for count in (1, *scale.further_grants)
            }
            if python is not None and by_quix is None:
                by_quix = _by_quix(stage, python, waiting.feed, scale, run)
            if by_quix is not None:
                others = max(ours[1].others, by_quix.others)
                figures.compare("egress_vs_quix", ours[1].per_second, "Quix Streams", by_quix.per_second, others=others)
            if scale.further_grants:
                most = max(scale.further_grants)
                one, several = ours[1].cpu_micros, ours[most].cpu_micros
                extra = (several / one - 1) / (most - 1)
                figures.growth(
                    "egress_extra_grant", extra, one=one, several=several, against=f"one grant; ours: {most}"
                )


def cut_by_mesh(stage: Stage, source: str, scale: Scale, name: str, grants: int) -> Drained:
    """Our stream worker, as `mesh run streams` is, over a copy of the feed; rate and cost per record of the feed."""
    stage.say(f"{name}: mesh, {grants} grant{'s' if grants > 1 else ''}")
    name = f"{name}x{grants}"
    feed = stage.onboard_agency(name)
    try:
        outs = stage.onboard_subscriber(f"reader{name}", feed, grants=grants)
        records = _copy(stage, read_directory(stage.kafka), source, feed)
        expected = sum(subject.passing(scale.changes, subject.regions_of(number)) for number in range(grants))
        stage.settle()
        with stage.hop("streams") as running:
            drained = drain(stage.console, f"mesh, {grants} grants", Growth(stage.kafka, outs), expected, running)
    finally:
        stage.forget(feed)
    return _per_input(stage, drained, records / expected)


def _by_quix(stage: Stage, python: Path, source: str, scale: Scale, run: int) -> Drained:
    """Quix Streams over the feed itself."""
    out = f"quix{run}.out"
    stage.say(f"egress, run {run} of {scale.runs}: Quix Streams, 1 grant")
    directory = read_directory(stage.kafka)
    ensure_topics(stage.kafka, {out: TopicSpec(partitions=PARTITIONS)})
    regions, columns = subject.regions_of(0), subject.columns_of(0)
    expected = subject.passing(scale.changes, regions)
    stage.settle()
    with quix.running(stage, python, directory.feeds[source], out, columns, regions) as running:
        drained = drain(stage.console, "Quix Streams", Growth(stage.kafka, [out]), expected, running)
    stage.drop_topics([out])
    return _per_input(stage, drained, (scale.changes + subject.SEED_ROWS) / expected)


def _per_input(stage: Stage, drained: Drained, inputs_per_output: float) -> Drained:
    """What was counted at the output, told by records of the feed."""
    told = replace(drained, records=drained.records * inputs_per_output)
    stage.say(f"  {told}")
    return told


def _copy(stage: Stage, directory: Directory, source: str, target: str) -> int:
    """Copy a feed under another name, partition by partition, with the schema ids of its new name; how many records."""
    feed = directory.feeds[target]
    key_frame, value_frame = (b"\0" + id_.to_bytes(4, "big") for id_ in (feed.key_schema_id, feed.value_schema_id))
    log = Log(stage.kafka, client_id="bench-copy")
    total = end_offsets(stage.kafka, [source])[source]
    consumer = _consumer(stage.kafka, source)
    copied = size_bytes = 0
    try:
        while copied < total:
            messages = _some(consumer, source)
            for message in messages:
                key, value = _bytes(message.key()), _bytes(message.value())
                log.append(
                    target, key_frame + key[_FRAME:], value_frame + value[_FRAME:], partition=message.partition()
                )
            copied += len(messages)
            size_bytes += sum(len(message) for message in messages)
        log.flush(60)
    finally:
        consumer.close()
        log.close()
    stage.say(f"  {copied:,} records of {size_bytes / copied:,.0f} bytes on average")
    return copied


def _consumer(kafka: Kafka, topic: str) -> Consumer:
    consumer = Consumer(kafka.client({"group.id": "bench-copy", "enable.auto.commit": False}))
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    return consumer


def _some(consumer: Consumer, topic: str) -> Sequence[Message]:
    messages = consumer.consume(5_000, 30)
    for message in messages:
        if error := message.error():
            raise Transient(f"{topic}: {error.str()}", fix="is the broker up?")
    if not messages:
        raise Transient(f"{topic}: no records within 30 s", fix="is the broker up?")
    return messages


def _bytes(part: str | bytes | None) -> bytes:
    assert isinstance(part, bytes), "the subject's feed has no tombstones, and its keys are bytes"
    return part
