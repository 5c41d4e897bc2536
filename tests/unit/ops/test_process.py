from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.cli import main
from ops.host import process
from ops.proof import verify
from schemas.errors import ContractBroken
from schemas.trace import described, places

CITIZEN = "440106199003071234"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a process's log says, after `log_to`."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    said = io.StringIO()
    process.log_to(said, "DEBUG")
    yield said
    root.handlers[:] = handlers
    root.setLevel(level)


def failing() -> dict[str, int]:
    return {}[CITIZEN]


def test_an_unforeseen_error_is_described_by_kind_and_places_alone() -> None:
    try:
        failing()
    except KeyError as error:
        said = described(error)
        again = ValueError(CITIZEN)
        again.__cause__ = error
    assert said.startswith("KeyError at tests/unit/ops/test_process.py:")
    assert CITIZEN not in said + described(again)
    assert "caused by KeyError at tests/unit/ops/test_process.py:" in described(again)
    assert described(ContractBroken("feed a.t", "is over")) == "feed a.t: is over"
    assert places(ValueError(CITIZEN)) == "no place"


def test_no_log_line_of_anybody_quotes_an_error(log: io.StringIO) -> None:
    library, ours = logging.getLogger("mode.worker"), logging.getLogger("streams.worker.app")
    try:
        failing()
    except KeyError as error:
        library.exception("[%s] Crashed reason=%r", "Agent", error)
        ours.error("it failed: %s", error)
        ours.critical("ends", exc_info=error)
        ours.error(error)
        ours.error("by name: %(error)s", {"error": error})
    said = log.getvalue()
    assert CITIZEN not in said
    assert said.count("KeyError at ") == 6
    assert said.count("test_process.py:") >= 6


def test_a_task_that_nobody_awaited_is_not_quoted(log: io.StringIO) -> None:
    async def lost() -> None:
        failing()

    async def leave() -> None:
        task = asyncio.create_task(lost())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task

    asyncio.run(leave())
    assert "Task exception was never retrieved" in log.getvalue()
    assert CITIZEN not in log.getvalue()


def test_what_a_client_says_at_each_attempt_is_logged_once_a_minute(log: io.StringIO) -> None:
    now = [0.0]
    logging.getLogger().handlers[0].filters[:] = [process.Sparing(lambda: now[0])]
    client = logging.getLogger("schemas.log.writer")
    for second in range(121):
        now[0] = float(second)
        client.error("%s [%s] %s", "FAIL", "mesh-capture#producer-1", "connection refused")
        client.error("ours: tried again in %d s", 1)
    lines = log.getvalue().splitlines()
    assert [line.partition("FAIL ")[2] for line in lines if "FAIL" in line] == [
        "[mesh-capture#producer-1] connection refused",
        *["[mesh-capture#producer-1] connection refused (and 59 times before)"] * 2,
    ]
    assert sum("ours" in line for line in lines) == 121


def test_a_thread_that_dies_ends_its_process_and_says_where() -> None:
    child = """
import logging, sys, threading, time
from ops.host import process
process.log_to(sys.stderr, "INFO")
process.watch_threads()
threading.Thread(target=lambda: {}["440106199003071234"], name="directory", daemon=True).start()
time.sleep(60)
"""
    ended = subprocess.run(
        [sys.executable, "-c", child],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == process.EXIT_CRASHED
    assert "the thread 'directory' died, which ends the process: KeyError at <string>:6" in ended.stderr
    assert CITIZEN not in ended.stderr


def test_a_command_that_fails_by_our_mistake_quotes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"KAFKA": "k", "REGISTRY": "r", "DATABASE": "d"}.items():
        monkeypatch.setenv(f"MESH_{name}", value)
    monkeypatch.delenv("MESH_LOG_LEVEL", raising=False)
    monkeypatch.setattr(verify, "verify", lambda *_, **__: failing())
    ran = CliRunner().invoke(main, ["verify", "a.t", "--dir", str(tmp_path)])
    assert ran.exit_code == 1
    assert "KeyError at " in ran.output
    assert CITIZEN not in ran.output
