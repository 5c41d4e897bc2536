"""The peer of egress: Quix Streams in an environment of its own, made once per user, with every version pinned.

It pins another confluent-kafka than ours, so it cannot live beside us. The environment stands in the cache directory and is made
with pip on first use.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ops.bench.stage import Stage
from ops.embedded.jars import cache_directory
from ops.embedded.program import Running
from schemas.agreement.directory import FeedEntry
from schemas.agreement.grant import Grant
from schemas.errors import Misconfigured
from schemas.wire.envelope import out_value_schema, value_schema

PINS = Path(__file__).with_name("quix.txt")
PROGRAM = Path(__file__).with_name("quix_egress.py")
_OUT_SCHEMA_ID = 1
_FIX = "check the network and pip's settings (`pip config list`), or leave egress out with --only"


def environment(stage: Stage) -> Path:
    """The Python of the environment, made now if it is not there. Raises Transient when pip cannot get what it needs."""
    folder = cache_directory() / "bench-venv"
    ready, python = folder / "ready", folder / "bin" / "python"
    pins = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_suffix(".lock").open("a")
    except OSError as error:
        fix = "set MESH_CACHE to a directory that this user may write to"
        raise Misconfigured(str(folder), f"cannot be made ({error.strerror})", fix=fix) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one makes it, others wait
        if not (ready.exists() and ready.read_text() == pins):
            stage.say(f"installing Quix Streams into {folder}, once")
            shutil.rmtree(folder, ignore_errors=True)
            stage.run(
                "quix-install", [sys.executable, "-m", "venv", str(folder)], what="making the environment", fix=_FIX
            )
            pip = [
                str(python),
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "--no-input",
                "--progress-bar=off",
            ]
            pip += ["--no-deps", "--only-binary=:all:", "-r", str(PINS)]
            stage.run("quix-install", pip, what="installing Quix Streams", fix=_FIX)
            ready.write_text(pins)
    return python


@contextmanager
def running(
    stage: Stage, python: Path, feed: FeedEntry, out: str, columns: Sequence[str], regions: Sequence[str]
) -> Iterator[Running]:
    """Quix Streams at work on the feed: rows of these regions, these columns of them, to the topic `out`."""
    grant = Grant(grant_id=f"quix.{feed.feed}", subscriber="quix", feed=feed.feed, columns=tuple(columns), purpose="-")
    job = {
        "kafka": stage.kafka.client({}),
        "group": out,
        "topic": feed.feed,
        "out": out,
        "schema": value_schema(feed.contract),
        "out_schema": out_value_schema(feed.contract, grant),
        "out_schema_id": _OUT_SCHEMA_ID,
        "columns": list(columns),
        "filter": {"column": "region", "values": list(regions)},
    }
    file = stage.directory / f"{out}.json"
    file.write_text(json.dumps(job))
    with stage.child(out, [str(python), str(PROGRAM), str(file)]) as program:
        yield program
