"""A department's pushes through the broker: what was answered is in the feed, whatever was killed when."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from producers.pushed.kind import PUSHED
from schemas.log.kafka import Kafka
from tests.stage.capturing import Rig
from tests.stage.kafka_text import written
from tests.stage.live_feed import free_port
from tests.stage.running_mesh import RunningMesh
from tests.stage.stated_child import feed_contract
from tests.stage.until import until

BATCH_ROWS = 500


def lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


class Script:
    """What a department has: it sends a batch until it is answered 200, and only then the next one."""

    def __init__(self, url: str, feed: str) -> None:
        self._url = f"{url}/v1/feeds/{feed}/rows"
        self.answered: dict[str, Any] = {}

    def answer(
        self, key: str, rows: Sequence[Mapping[str, Any]], statuses: Set[int], mode: str = "changes"
    ) -> dict[str, Any]:
        """The answer, if it has one of these statuses; nothing where it is to be sent again."""
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key}
        url = f"{self._url}?mode={mode}"
        try:
            answer = httpx.post(url, content=lines(rows), headers=headers, timeout=60, trust_env=False)
        except httpx.TransportError:
            return {}
        assert answer.status_code in {404, 429, 503, *statuses}, answer.text
        return answer.json() if answer.status_code in statuses else {}

    def send(self, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        taken = until(lambda: self.answer(key, rows, {200}), 90, f"batch {key} is answered")
        assert self.answered.setdefault(key, taken) == taken


def test_sigkill_again_and_again_loses_nothing_that_was_answered_and_tells_nothing_twice(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    url, feed = f"http://127.0.0.1:{free_port()}", f"{unique}.person"
    rig = Rig(kafka, url, unique)
    rig.kinds, rig.state = {"push": PUSHED}, tmp_path / "state"
    rig.set_source(kind="push")
    rig.add(feed_contract(unique))
    command = [sys.executable, "-m", "tests.stage.stated_child", written(kafka), url, unique, str(tmp_path), "push"]
    script = Script(url, feed)
    batches = {
        f"{number}": [{"id": number * 250 + at, "name": f"n{number}", "amount": number} for at in range(BATCH_ROWS)]
        for number in range(12)
    }
    children: list[subprocess.Popen[bytes]] = [subprocess.Popen(command)]

    def work() -> None:
        for key, rows in batches.items():
            script.send(key, rows)

    try:
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(work)
            for answered in (1, 4, 7):
                until(lambda least=answered: sending.done() or len(script.answered) >= least, 90, "some are answered")
                children[-1].kill()
                children[-1].wait()
                children.append(subprocess.Popen(command))
            sending.result(120)
        first = dict(script.answered)
        for key, rows in batches.items():
            script.send(key, rows)  # all of them again
        assert script.answered == first
    finally:
        for child in children:
            child.kill()
            child.wait()
    changes = rig.changes(feed)
    by_position = {change.position: change for change in changes}
    assert all(by_position[change.position] == change for change in changes)
    counted = Counter(change.op for change in by_position.values())
    assert counted["r"] + counted["c"] == 11 * 250 + BATCH_ROWS
    assert counted["u"] == 11 * 250
    assert {answer["created"] + answer["updated"] for answer in first.values()} == {BATCH_ROWS}
    assert {key: row["name"] for (key,), row in rig.fold(feed).items()} == {
        row["id"]: row["name"] for rows in batches.values() for row in rows
    }


def test_a_host_that_lost_its_disk_takes_a_whole_table_only_and_the_feed_is_that_table(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    url, feed = f"http://127.0.0.1:{free_port()}", f"{unique}.person"
    rig = Rig(kafka, url, unique)
    rig.kinds, rig.state = {"push": PUSHED}, tmp_path / "state"
    rig.set_source(kind="push")
    rig.add(feed_contract(unique))
    command = [sys.executable, "-m", "tests.stage.stated_child", written(kafka), url, unique, str(tmp_path), "push"]
    rows = [{"id": number, "name": "before", "amount": number} for number in range(BATCH_ROWS)]
    script = Script(url, feed)
    child = subprocess.Popen(command)
    try:
        script.send("first", rows)
        child.kill()
        child.wait()
        shutil.rmtree(tmp_path / "state")
        child = subprocess.Popen(command)
        refused = until(lambda: script.answer("second", rows[:1], {409}), 90, "changes alone are refused")
        assert "mode=full" in refused["fix"]
        assert len(rig.fold(feed)) == BATCH_ROWS, "subscribers keep what they have"
        whole = [{**row, "name": "after"} for row in rows[100:]]
        until(lambda: script.answer("third", whole, {200}, mode="full"), 90, "the whole table is taken")
        script.send("second", rows[:1])
    finally:
        child.kill()
        child.wait()
    expected = {row["id"]: row["name"] for row in [*whole, rows[0]]}
    assert {key: row["name"] for (key,), row in rig.fold(feed).items()} == expected


def test_what_draft_prints_sends_the_sample_that_it_was_drafted_from(mesh: RunningMesh, tmp_path: Path) -> None:
    agency, url = f"{mesh.unique}p", f"http://127.0.0.1:{free_port()}"
    sample = tmp_path / "person 1.jsonl"
    row = {"name": "王芳", "amount": 1.25, "born": "1990-05-17", "tel": "02012345678", "code": 20012345678}
    rows = [{"id": number, **row} for number in range(50)]
    sample.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    drafted = mesh.done("draft", f"push:{sample}", "--agency", agency, "--into", mesh.folder / agency)
    assert [Path(path).name for path in drafted["written"]] == ["agency.yaml", "person.avsc"]
    [command] = drafted["sending"]
    variable, _, _ = drafted["first"].removeprefix("export ").partition("=")
    mesh.variables[variable] = url
    checked = mesh.done("check", mesh.folder / agency)
    assert [line.replace("rows.jsonl", shlex.quote(str(sample))) for line in checked["sending"]] == [command]
    mesh.done("onboard", mesh.folder / agency)

    def told() -> Mapping[str, Any]:
        env = {**os.environ, variable: url, "MESH_TOKEN": ""}
        ran = subprocess.run(["bash", "-c", command], env=env, capture_output=True, check=False)
        assert not ran.stdout or json.loads(ran.stdout)["taken"] or b"takes no rows here" in ran.stdout, ran.stdout
        return json.loads(ran.stdout) if ran.returncode == 0 else {}

    taken = until(told, 60, "the printed command is answered")
    assert (taken["rows"], taken["created"]) == (50, 50)
    assert told() == taken, "the file again is the same batch"
