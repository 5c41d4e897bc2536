"""Drop sink: JSON Lines, CSV or Parquet files, by size or time, each with a manifest, at a place that a DropPlace writes to.

Options: see sinks/drops/options.py.

    <place>/<feed>/<feed>.p<partition>.<first offset>.jsonl
    <place>/<feed>/<feed>.p<partition>.<first offset>.jsonl.done.json     manifest; the file counts once this is there
    <place>/.mesh/<feed>.p<partition>.json                                how far the drop is

A file appears whole or not at all (sinks/drops/place.py). Its name is made of the partition and the first offset, so a drop that
was cut short is written again under the same name. The place itself says how far it is, so a crash between a file and the
broker's commit repeats nothing. A receiver may take finished files away.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, BinaryIO

from schemas.change import Batch, Partition
from schemas.errors import ContractBroken
from schemas.wire.schema import SchemaOf
from sinks.document import Document, Documents
from sinks.drops.format import WriteFile, format_of, moment_text
from sinks.drops.options import DropOptions
from sinks.drops.place import STATE, DropPlace
from sinks.sink import BatchingPolicy, SinkSetup

RECORDS_MAX = 200_000
MANIFESTS_MAX = 100
DONE = ".done.json"


class DropSink:
    """Drops files at one place. Raises what the place raises, and Rejected for a value no file can hold."""

    def __init__(
        self,
        *,
        place: DropPlace,
        subscriber: str,
        schema_of: SchemaOf,
        ending: str,
        write_file: WriteFile,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._place = place
        self._prefix = f"out.{subscriber}."
        self._documents = Documents(schema_of, subscriber)
        self._ending = ending
        self._write_file = write_file
        self._now = now
        self._next: dict[Partition, int] = {}

    def write(self, batches: Sequence[Batch]) -> None:
        """Write one file per partition, more where the schema changes, and only then say how far the drop is."""
        for batch in map(self._not_yet_dropped, batches):
            if not batch.records:
                continue
            read = [(record.offset, self._documents.document(batch.topic, record)) for record in batch.records]
            self._drop(batch, [(offset, document) for offset, document in read if document is not None])
            self._set_offset(batch.topic, batch.partition, batch.next_offset)

    def close(self) -> None:
        """Let go of the place."""
        self._place.close()

    def start_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Where the drop is; a manifest written just before a crash counts."""
        starts: dict[Partition, int] = {}
        for topic, partition in partitions:
            self._place.sweep(self._name(topic), self._stem(topic, partition))
            self._place.sweep(STATE, self._stem(topic, partition))
            offset = self._kept_offset(topic, partition)
            for first, next_offset in self._manifests(topic, partition, offset):
                if offset is None or first >= offset:
                    offset = next_offset
            self._next[topic, partition] = offset or 0
            if offset is not None:
                starts[topic, partition] = offset
        return starts

    def rewind(self, starts: Mapping[Partition, int]) -> None:
        """Drop again from these offsets: a file of the same offsets takes the place of the former."""
        for (topic, partition), offset in starts.items():
            self._set_offset(topic, partition, offset)

    def skip(self, topic: str, partition: int, next_offset: int) -> None:
        """Move past a dead letter."""
        self._set_offset(topic, partition, next_offset)

    def _not_yet_dropped(self, batch: Batch) -> Batch:
        """What an earlier try of the same records left over: a file may have been taken away already."""
        start = self._next.get((batch.topic, batch.partition), 0)
        if batch.records[0].offset >= start:
            return batch
        left = [record for record in batch.records if record.offset >= start]
        return Batch(topic=batch.topic, partition=batch.partition, records=left)

    def _name(self, topic: str) -> str:
        return topic.removeprefix(self._prefix)

    def _stem(self, topic: str, partition: int) -> str:
        return f"{self._name(topic)}.p{partition}"

    def _kept_offset(self, topic: str, partition: int) -> int | None:
        """How far the place says it is. Raises ContractBroken for a file that is not as it was written here."""
        name = f"{self._stem(topic, partition)}.json"
        content = self._place.read(STATE, name)
        if content is None:
            return None
        try:
            kept = json.loads(content)
            offset = kept["next_offset"]
            if type(offset) is not int or offset < 0:
                raise ValueError("no offset")
            problem = "was changed by hand" if kept.get("check", offset) not in {_check(name, offset), offset} else ""
        except (ValueError, TypeError, KeyError, AttributeError):
            problem = "is cut or was changed by hand"
        else:
            if not problem:
                return offset
        path = self._place.shown(STATE, name)
        raise ContractBroken(
            f"drop of {self._name(topic)}",
            f"{path} {problem}: it says how far the drop is",
            fix=f"remove {path}; the drop goes on from its newest manifest or what Kafka knows, and nothing is lost",
        )

    def _manifests(self, topic: str, partition: int, since: int | None) -> Iterator[tuple[int, int]]:
        """First and next offset of the newest manifests, in order; one that cannot be read was never finished."""
        folder, stem = self._name(topic), self._stem(topic, partition)
        after = "" if since is None else f"{stem}.{since:020d}"
        names = [name for name in self._place.names(folder, f"{stem}.", after) if name.endswith(DONE)]
        for name in names[-MANIFESTS_MAX:]:
            text = name.removeprefix(f"{stem}.").split(".", 1)[0]
            if not text.isdecimal() or (since is not None and int(text) < since):
                continue
            with suppress(ValueError, TypeError, KeyError):
                manifest = json.loads(self._place.read(folder, name) or b"")
                first, following = manifest["first_offset"], manifest["next_offset"]
                if type(first) is int and type(following) is int and int(text) == first < following:
                    yield first, following

    def _drop(self, batch: Batch, read: Sequence[tuple[int, Document]]) -> None:
        runs = [list(run) for _, run in groupby(read, key=lambda entry: id(entry[1].row))]
        for number, run in enumerate(runs):
            first = run[0][0]
            end = runs[number + 1][0][0] if number + 1 < len(runs) else batch.next_offset
            self._drop_run(batch, first, end, [document for _, document in run])

    def _drop_run(self, batch: Batch, first: int, end: int, documents: Sequence[Document]) -> None:
        folder = self._name(batch.topic)
        name = f"{self._stem(batch.topic, batch.partition)}.{first:020d}{self._ending}"
        size, digest = self._place.write(folder, name, lambda file: self._write_file(file, documents[0].row, documents))
        ops: dict[str, int] = {}
        for document in documents:
            ops[str(document.change.op)] = ops.get(str(document.change.op), 0) + 1
        headers = documents[0].change.headers
        told = [document.change.headers.get("reason") for document in documents]
        reasons = {reason: told.count(reason) for reason in sorted({reason for reason in told if reason})}
        manifest = {
            "file": name,
            "feed": folder,
            "partition": batch.partition,
            "first_offset": first,
            "next_offset": end,
            "records": len(documents),
            "ops": ops,
            "reasons": reasons,
            "grant_id": headers.get("grant_id"),
            "purposes": sorted(
                {each.change.headers["purpose"] for each in documents if "purpose" in each.change.headers}
            ),
            "corrections": {each: document.position for document in documents for each in document.corrects},
            "bytes": size,
            "sha256": digest,
            "first_position": documents[0].position,
            "last_position": documents[-1].position,
            "first_trace_id": documents[0].trace_id or None,
            "last_trace_id": documents[-1].trace_id or None,
            "written_at": moment_text(self._now()),
        }
        self._write_json(folder, f"{name}{DONE}", manifest)

    def _set_offset(self, topic: str, partition: int, next_offset: int) -> None:
        name = f"{self._stem(topic, partition)}.json"
        self._write_json(STATE, name, {"next_offset": next_offset, "check": _check(name, next_offset)})
        self._next[topic, partition] = next_offset

    def _write_json(self, folder: str, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        self._place.write(folder, name, lambda file: _all(file, text.encode()))


def _all(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def _check(name: str, offset: int) -> str:
    """What a hand that changes the offset forgets to change: an offset further on would be a silent gap (invariant 9)."""
    return hashlib.sha256(f"{name} {offset}".encode()).hexdigest()[:16]


def drop_batching(options: DropOptions) -> BatchingPolicy:
    """How long a drop grows."""
    return BatchingPolicy(records_max=RECORDS_MAX, bytes_max=options.bytes_max, linger_seconds=options.every_seconds)


def drop_sink(setup: SinkSetup, options: DropOptions, place: DropPlace) -> DropSink:
    """The sink that drops at a place what the options say."""
    ending, write_file = format_of(
        options.format, setup.label, bom=options.bom, escape_formulas=options.escape_formulas
    )
    return DropSink(
        place=place,
        subscriber=setup.subscriber,
        schema_of=setup.schema_of,
        ending=ending,
        write_file=write_file,
    )
