"""Drops as a kind of sink: files in a directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.agreement.grant import Grant
from sinks.copy import Copy
from sinks.drops.options import FilesOptions
from sinks.kind import Destination, SinkKind
from sinks.sink import BatchingPolicy, Sink, SinkSetup


def _build(setup: SinkSetup) -> Sink:
    from sinks.drops.files import build_files

    return build_files(setup)


def _try(setup: SinkSetup) -> None:
    from sinks.drops.trial import try_files

    try_files(setup)


def _batching(setup: SinkSetup) -> BatchingPolicy:
    from sinks.drops.files import files_batching

    return files_batching(setup)


def _places(setup: SinkSetup, _grants: Sequence[Grant]) -> Iterable[Destination]:
    directory = Path(setup.secret(setup.options(FilesOptions).path, setup.sink.name)).resolve()
    yield Destination(what="its directory", where=("directory", str(directory)), directory=directory)


def _copy(setup: SinkSetup, _grant: Grant, _kept: Path | None) -> Copy:
    from sinks.drops.copy import FileCopy

    options = setup.options(FilesOptions)
    directory = Path(setup.secret(options.path, setup.sink.name))
    return FileCopy(directory=directory, format=options.format, escape_formulas=options.escape_formulas)


FILES = SinkKind(
    build=_build,
    options=FilesOptions,
    trial=_try,
    trial_says="a probe was written and removed",
    places=_places,
    copy=_copy,
    target="directory",
    batching=_batching,
)
