"""The flows' engine beside its peer: a feed merged by key, with state and changelog, by ours and by Quix Streams.

Both read the feed that our capture wrote, keep the newest row of each key with where it came from, publish every change
of it as a whole envelope, and log their state to a compacted topic. Ours writes a batch's outputs, state and position as one
transaction; Quix Streams gives at-least-once. Timed by the messages that ours has folded for good, and by what the peer's group has
committed of its input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ops.bench import subject
from ops.bench.capture import PARTITIONS, Backlog, backlog, by_mesh
from ops.bench.figure import Figures
from ops.bench.growth import Drained, committed, drain
from ops.bench.peers import quix
from ops.bench.scale import Scale
from ops.bench.stage import Stage
from ops.bench.stateful.worker import merged_contract
from ops.run.flow_worker import topic_specs
from schemas.agreement.directory import FeedEntry
from schemas.feed import key_subject, value_subject
from schemas.log.control.follower import read_directory
from schemas.log.topics import TopicSpec, ensure_topics
from schemas.registry.client import RegistryClient
from schemas.wire.codec import without_logical_types
from schemas.wire.envelope import key_schema, value_schema


def measure_stateful(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`stateful_vs_quix`."""
    python = quix.environment(stage) if scale.has_peers else None
    with backlog(stage, "fold", scale.changes) as waiting:
        by_mesh(waiting)
        for run in range(1, scale.runs + 1):
            sides: dict[str, Callable[[], Drained]] = {"mesh": lambda run=run: _by_mesh(waiting, run)}
            if python is not None:
                sides["Quix Streams"] = lambda run=run: _by_quix(waiting, run, python)
            found: dict[str, Drained] = {}
            for name in sorted(sides, reverse=run % 2 == 0):
                stage.say(f"stateful merge, run {run} of {scale.runs}: {name}")
                stage.settle()
                found[name] = sides[name]()
                stage.say(f"  {found[name]}")
            if len(found) == 2:
                ours, theirs = found["mesh"], found["Quix Streams"]
                others = max(ours.others, theirs.others)
                figures.compare("stateful_vs_quix", ours.per_second, "Quix Streams", theirs.per_second, others=others)


def _by_mesh(waiting: Backlog, run: int) -> Drained:
    stage, name = waiting.stage, f"fold{run}"
    entries = _entries(waiting, f"{name}.merged")
    inbox, state = f"{name}.inbox", f"{name}.state"
    taken = stage.directory / f"{name}.taken"
    ensure_topics(stage.kafka, topic_specs(PARTITIONS, inbox=inbox, state=state))
    job = {
        "kafka": stage.kafka.environment(),
        "registry": stage.settings.registry,
        "group": name,
        "source": waiting.feed,
        "out": f"{name}.merged",
        "inbox": inbox,
        "state": state,
        "partitions": PARTITIONS,
        "folder": str(stage.directory / name),
        "taken": str(taken),
        "feeds": [entry.to_json() for entry in entries],
    }
    with _child(stage, name, [sys.executable, "-P", "-m", "ops.bench.stateful.worker"], job) as running:
        drained = drain(stage.console, "mesh", lambda: _count_in(taken), waiting.changes + subject.SEED_ROWS, running)
    stage.drop_topics([f"{name}.merged", inbox, state])
    return drained


def _by_quix(waiting: Backlog, run: int, python: Path) -> Drained:
    stage, name = waiting.stage, f"quixfold{run}"
    source, out = _entries(waiting, f"{name}.merged")
    job = {
        "kafka": stage.kafka.client({}),
        "group": name,
        "topic": waiting.feed,
        "out": out.feed,
        "folder": str(stage.directory / name),
        "schema": without_logical_types(value_schema(source.contract)),
        "out_schema": without_logical_types(value_schema(out.contract)),
        "out_schema_id": out.value_schema_id,
    }
    program = str(Path(__file__).with_name("quix_fold.py"))
    with _child(stage, name, [str(python), program], job) as running:
        look = committed(stage.kafka, name, [waiting.feed])
        drained = drain(stage.console, "Quix Streams", look, waiting.changes + subject.SEED_ROWS, running)
    stage.drop_topics([out.feed, f"changelog__{name}--{waiting.feed}--default"])
    return drained


def _entries(waiting: Backlog, out: str) -> tuple[FeedEntry, FeedEntry]:
    """The feed, and the one that its merge is written to, which is registered and made here."""
    stage = waiting.stage
    source = read_directory(stage.kafka).feeds[waiting.feed]
    contract = merged_contract(source.contract, out)
    with closing(RegistryClient(stage.settings.registry)) as client:
        entry = FeedEntry(
            contract=contract,
            version=1,
            key_schema_id=client.register(key_subject(out), key_schema(contract)),
            value_schema_id=client.register(value_subject(out), value_schema(contract)),
            partitions=PARTITIONS,
        )
    ensure_topics(stage.kafka, {out: TopicSpec(partitions=PARTITIONS)})
    return source, entry


def _count_in(file: Path) -> int:
    """The number in a file, which may not be there yet, or be written this very moment."""
    try:
        return int(file.read_text() or 0)
    except FileNotFoundError:
        return 0


@contextmanager
def _child(stage: Stage, name: str, argv: list[str], job: dict[str, Any]) -> Iterator[Any]:
    file = stage.directory / f"{name}.json"
    file.write_text(json.dumps(job))
    with stage.child(name, [*argv, str(file)]) as running:
        yield running
