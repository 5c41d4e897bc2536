"""Rounds of trouble against a random workload on PostgreSQL and MariaDB: whatever happens, feed, copies and ledger end equal.

`make chaos ROUNDS=n SEED=s` runs n rounds of a seed, `FROM=k` begins with the k-th. A round that fails says how it is run again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.rounds import planting
from tests.chaos.rounds.engine import Engine
from tests.chaos.rounds.town import KINDS, Town, town

ROUNDS = max(1, int(os.environ.get("MESH_CHAOS_ROUNDS", "10")))
FIRST = max(1, int(os.environ.get("MESH_CHAOS_FROM", "1")))
SEED = int(os.environ["MESH_CHAOS_SEED"])


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Town]:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # the databases run as another user
    with town(tmp_path) as made:
        yield made


@pytest.mark.timeout(300 + 180 * ROUNDS)
def test_whatever_happens_feeds_are_their_tables_and_copies_are_the_feeds(
    running: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"{line}\n")

    say(f"\nmake chaos ROUNDS={ROUNDS} SEED={SEED}")
    engine = Engine(running, SEED)
    for number in range(FIRST, FIRST + ROUNDS):
        say(str(engine.run(number)))
    for kind in KINDS:
        planting.prepare(running, kind)
    engine.become_quiet()
    for kind, subscriber in running.subscribers.items():
        assert planting.found(engine, subscriber, running) == planting.expected(kind)
