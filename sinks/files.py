"""File sink: drops of JSON Lines, CSV or Parquet files, by size or time, each with a manifest.

Options: see sinks/files_options.py.

    <directory>/<feed>/<feed>.p<partition>.<first offset>.jsonl
    <directory>/<feed>/<feed>.p<partition>.<first offset>.jsonl.done.json     manifest; the file counts once this is there
    <directory>/.mesh/<feed>.p<partition>.json                                how far the directory is

A file appears whole or not at all: it is written beside its place, synced and renamed. Its name is made of the partition and the
first offset, so a drop that was cut short is written again under the same name. The directory itself says how far it is, so a
crash between the rename and the broker's commit repeats nothing. A receiver may take finished files away.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from schemas.change import Batch
from schemas.codec import SchemaOf
from schemas.errors import Misconfigured, Transient
from sinks.document import Document, Documents
from sinks.file_format import WriteFile, format_of, moment_text
from sinks.files_options import FilesOptions
from sinks.files_trial import try_files
from sinks.sink import Pace, Partition, SinkKind, SinkSetup

RECORDS_MAX = 200_000


class FileSink:
    """Drops files into one directory. Raises Transient when it cannot be written, Rejected for a value no file can hold."""

    def __init__(
        self,
        *,
        directory: Path,
        subscriber: str,
        schema_of: SchemaOf,
        ending: str,
        write_file: WriteFile,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._prefix = f"out.{subscriber}."
        self._documents = Documents(schema_of, subscriber)
        self._ending = ending
        self._write_file = write_file
        self._now = now
        self._next: dict[Partition, int] = {}

    def write(self, batches: Sequence[Batch]) -> None:
        """Write one file per partition, more where the schema changes, and only then say how far the directory is."""
        for batch in map(self._not_yet_dropped, batches):
            if not batch.records:
                continue
            read = [(record.offset, self._documents.document(batch.topic, record)) for record in batch.records]
            try:
                self._drop(batch, [(offset, document) for offset, document in read if document is not None])
                self._set_offset(batch.topic, batch.partition, batch.next_offset)
            except OSError as error:
                raise Transient(
                    f"drop of {batch.topic}: {error.strerror}", fix="see whether the directory is there and has space"
                ) from error

    def close(self) -> None:
        """Nothing is held open between writes."""

    def start_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Where the directory is; a manifest written just before a crash counts."""
        starts: dict[Partition, int] = {}
        for topic, partition in partitions:
            try:
                kept = json.loads(self._offset_path(topic, partition).read_text("utf-8"))
            except FileNotFoundError:
                kept = {"next_offset": None}
            except (OSError, ValueError) as error:
                raise Transient(f"drop of {topic}: its state cannot be read", fix="look into .mesh/") from error
            offset = kept["next_offset"]
            for manifest in self._manifests(topic, partition):
                if offset is None or manifest["first_offset"] >= offset:
                    offset = manifest["next_offset"]
            self._next[topic, partition] = offset or 0
            if offset is not None:
                starts[topic, partition] = offset
        return starts

    def skip(self, topic: str, partition: int, next_offset: int) -> None:
        """Move past a dead letter."""
        try:
            self._set_offset(topic, partition, next_offset)
        except OSError as error:
            raise Transient(f"drop of {topic}: {error.strerror}", fix="look at the directory") from error

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

    def _manifests(self, topic: str, partition: int) -> list[dict[str, Any]]:
        pattern = f"{self._stem(topic, partition)}.*.done.json"
        paths = sorted((self._directory / self._name(topic)).glob(pattern))
        return [json.loads(path.read_text("utf-8")) for path in paths[-100:]]

    def _drop(self, batch: Batch, read: Sequence[tuple[int, Document]]) -> None:
        runs = [list(run) for _, run in groupby(read, key=lambda entry: id(entry[1].row))]
        for number, run in enumerate(runs):
            first = run[0][0]
            end = runs[number + 1][0][0] if number + 1 < len(runs) else batch.next_offset
            self._drop_run(batch, first, end, [document for _, document in run])

    def _drop_run(self, batch: Batch, first: int, end: int, documents: Sequence[Document]) -> None:
        folder = self._directory / self._name(batch.topic)
        folder.mkdir(parents=True, exist_ok=True)
        final = folder / f"{self._stem(batch.topic, batch.partition)}.{first:020d}{self._ending}"
        draft = folder / f".{final.name}.draft"
        self._write_file(draft, documents[0].row, documents)
        content = draft.read_bytes()
        _sync(draft)
        draft.replace(final)
        ops: dict[str, int] = {}
        for document in documents:
            ops[str(document.change.op)] = ops.get(str(document.change.op), 0) + 1
        manifest = {
            "file": final.name,
            "feed": self._name(batch.topic),
            "partition": batch.partition,
            "first_offset": first,
            "next_offset": end,
            "records": len(documents),
            "ops": ops,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "first_position": documents[0].position,
            "last_position": documents[-1].position,
            "written_at": moment_text(self._now()),
        }
        _write_whole(folder / f"{final.name}.done.json", manifest)

    def _offset_path(self, topic: str, partition: int) -> Path:
        return self._directory / ".mesh" / f"{self._stem(topic, partition)}.json"

    def _set_offset(self, topic: str, partition: int, next_offset: int) -> None:
        path = self._offset_path(topic, partition)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, {"next_offset": next_offset})
        self._next[topic, partition] = next_offset


def _sync(path: Path) -> None:
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    _sync(draft)
    draft.replace(path)
    _sync(path)


def files_pace(setup: SinkSetup) -> Pace:
    """How long a drop grows."""
    options = setup.options(FilesOptions)
    return Pace(records_max=RECORDS_MAX, bytes_max=options.bytes_max, linger_seconds=options.every_seconds)


def build_files(setup: SinkSetup) -> FileSink:
    """The sink of kind `files`."""
    options = setup.options(FilesOptions)
    ending, write_file = format_of(options.format, setup.label)
    directory = Path(setup.secret(options.path, setup.sink.name))
    if not directory.is_absolute():
        raise Misconfigured(f"{setup.label}, path", "is no absolute path", fix="give the directory's full path")
    return FileSink(
        directory=directory,
        subscriber=setup.subscriber,
        schema_of=setup.schema_of,
        ending=ending,
        write_file=write_file,
    )


FILES = SinkKind(build=build_files, options=FilesOptions, trial=try_files, pace=files_pace)
