"""What a sink of kind `files` is built from: drops into a directory of this host."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import Misconfigured
from sinks.drops.access import access_of
from sinks.drops.folder import DropFolder
from sinks.drops.options import FilesOptions
from sinks.drops.sink import DropSink, drop_batching, drop_sink
from sinks.sink import BatchingPolicy, SinkSetup


def build_files(setup: SinkSetup) -> DropSink:
    """The sink of kind `files`."""
    options = setup.options(FilesOptions)
    directory = Path(setup.secret(options.path, setup.sink.name))
    if not directory.is_absolute():
        raise Misconfigured(f"{setup.label}, path", "is no absolute path", fix="give the directory's full path")
    return drop_sink(setup, options, DropFolder(directory, access_of(options, setup.label)))


def files_batching(setup: SinkSetup) -> BatchingPolicy:
    """How long a drop grows."""
    return drop_batching(setup.options(FilesOptions))
