"""A subscriber's kits run as they are handed out, in a running mesh: Python on its own topics, curl on its live feed."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stage.console import console
from tests.stage.live_feed import TOKEN, free_port
from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until

FIELDS = {
    "id": "int",
    "name": "string",
    "fee": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
    "at": {"type": "long", "logicalType": "timestamp-micros"},
    "secret": "string",
}


class Customs:
    """A table of 40 rows, granted to a subscriber twice: through topics that it reads itself, and through a live feed."""

    def __init__(self, mesh: RunningMesh) -> None:
        self.mesh = mesh
        self.agency, self.code = f"{mesh.unique}a", f"{mesh.unique}s"
        self.feed = f"{self.agency}.t"
        self.grant = f"{self.code}.{self.feed}"
        self.topic = f"out.{self.grant}"
        self.source = mesh.database(self.agency)
        mesh.variables["LIVE_TOKEN"] = TOKEN
        with database(self.source) as town:
            town.execute(
                "CREATE TABLE t (id int PRIMARY KEY, name text, fee numeric(12,2), at timestamptz, secret text);"
                "ALTER TABLE t REPLICA IDENTITY FULL"
            )
            town.execute(
                "INSERT INTO t SELECT n, '企业' || n, n / 4.0, '2026-11-30 12:00+08', 'PERSONAL' FROM generate_series(1, 40) n"
            )
        mesh.agency(self.agency, {"t": contract(["id"], FIELDS)})
        columns = {"feed": self.feed, "columns": ["name", "fee", "at"], "purpose": "报关核验"}
        sinks = [
            {"name": "own", "kind": "kafka"},
            {
                "name": "live",
                "kind": "live",
                "token": "${LIVE_TOKEN}",
                "options": {"listen": f"http://127.0.0.1:{free_port()}"},
            },
        ]
        grants = [{**columns, "sink": "own"}, {**columns, "grant_id": f"{self.grant}.watch", "sink": "live"}]
        folder = mesh.folder / self.code
        folder.mkdir()
        text = {"subscriber": self.code, "name": "广州海关", "sinks": sinks, "grants": grants}
        (folder / "subscriber.yaml").write_text(json.dumps(text, ensure_ascii=False))
        mesh.done("onboard", mesh.folder)
        until(lambda: len(mesh.records(self.topic)) >= 40, 60, "all rows are on its topic")


@pytest.fixture(scope="module")
def customs(mesh_of_module: RunningMesh) -> Customs:
    return Customs(mesh_of_module)


@pytest.fixture(scope="module")
def kits(customs: Customs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("kits")
    made = customs.mesh.done("kit", customs.code, "--to", to)
    assert {Path(each["folder"]).name for each in made} == {f"{customs.code}.own", f"{customs.code}.live"}
    texts = {path: path.read_text("utf-8") for path in to.rglob("*") if path.is_file()}
    login = (customs.mesh.directory / "connections" / f"{customs.code}.own.properties").read_text()
    password = next(line.partition("=")[2] for line in login.splitlines() if line.startswith("sasl.password="))
    own = [*customs.mesh.endpoints["kafka_login"].values(), password, TOKEN]
    secrets = [each for each in own if len(str(each)) > 24]
    assert len(secrets) >= 2
    assert not [str(path) for path, text in texts.items() if any(secret in text for secret in secrets)]
    return to


def ran(command: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A program of a kit, as its subscriber has it: without anything of the mesh's in its environment or on its path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MESH_", "PYTHON"))}
    return subprocess.run(
        command, cwd=cwd, env={**kept, **env}, capture_output=True, text=True, check=False, timeout=120
    )


def lines(text: str) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_python_kit_reads_what_is_granted_and_goes_on_where_it_was(customs: Customs, kits: Path) -> None:
    kit = kits / f"{customs.code}.own"
    program = [sys.executable, "-P", "python/read.py"]
    without = ran([*program, "--count", "1"], kit)
    assert (without.returncode, "put the file that was handed to you there" in without.stderr) == (1, True), without
    handed_over = customs.mesh.directory / "connections" / f"{customs.code}.own.properties"
    shutil.copy(handed_over, kit)

    trial = ran([*program, "--trial", "--count", "5"], kit)
    assert (trial.returncode, len(lines(trial.stdout))) == (0, 5), trial.stderr
    first = ran([*program, "--count", "30"], kit)
    assert first.returncode == 0, first.stderr
    with database(customs.source) as town:
        town.execute("UPDATE t SET name = '新' WHERE id = 1; DELETE FROM t WHERE id = 2")
    rest = ran([*program, "--count", "12"], kit)
    assert rest.returncode == 0, rest.stderr
    told = [*lines(first.stdout), *lines(rest.stdout)]
    assert {each["feed"] for each in told} == {customs.feed}
    held: dict[int, Any] = {}
    for each in told:
        if each["op"] == "d":
            del held[each["key"]["id"]]
        else:
            held[each["key"]["id"]] = each["after"]
    assert sorted(held) == [1, *range(3, 41)], "each row once, and none that was deleted"
    assert held[1] == {"id": 1, "name": "新", "fee": "0.25", "at": "2026-11-30T04:00:00+00:00"}
    assert "PERSONAL" not in first.stdout + rest.stdout

    [row] = [
        each for each in customs.mesh.done("status", "--once")["subscriptions"] if each["grant_id"] == customs.grant
    ]
    assert row["lag_records"] <= 1, "what it printed is confirmed; the record behind a delete may be left"

    wrong = kit / "wrong.properties"
    wrong.write_text(handed_over.read_text().replace("sasl.password=", "sasl.password=x"))
    refused = ran([*program, "--login", str(wrong), "--count", "1"], kit)
    assert refused.returncode != 0
    assert "uthentication" in refused.stderr


def test_the_curl_kit_follows_the_live_feed_and_says_what_it_has(customs: Customs, kits: Path) -> None:
    kit = kits / f"{customs.code}.live"
    without = ran(["./follow.sh"], kit)
    assert (without.returncode, "no token" in without.stderr) == (2, True), without
    early = ran(["./acknowledge.sh"], kit, MESH_TOKEN=TOKEN)
    assert (early.returncode, "run ./follow.sh first" in early.stderr) == (1, True), early
    wrong = ran(["./follow.sh"], kit, MESH_TOKEN="wrong")
    assert wrong.returncode != 0
    assert wrong.stderr

    def followed() -> list[Mapping[str, Any]]:
        said = ran(["./follow.sh", "--max-time", "4"], kit, MESH_TOKEN=TOKEN)
        assert said.returncode == 28, said.stderr
        return lines(said.stdout)

    told = until(followed, 60, "what stands")
    assert {each["key"]["id"] for each in told} >= set(range(3, 41))
    with database(customs.source) as town:
        town.execute("UPDATE t SET name = '又' WHERE id = 5")
    more = until(followed, 60, "it goes on where it was")
    assert [each["key"]["id"] for each in more] == [5]
    done = ran(["./acknowledge.sh"], kit, MESH_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr

    def lag() -> bool:
        all_of = customs.mesh.done("status", "--once")["subscriptions"]
        return [each["lag_records"] for each in all_of if each["grant_id"] == f"{customs.grant}.watch"] == [0]

    until(lag, 30, "it counts as delivered")


@pytest.fixture(scope="module")
def page(customs: Customs) -> Iterator[httpx.Client]:
    with console(customs.mesh) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        yield client


def test_the_console_hands_out_the_same_kit(customs: Customs, kits: Path, page: httpx.Client) -> None:
    for name, feeds in ((f"{customs.code}.own", 1), (customs.grant, 1), (f"{customs.code}.live", 1)):
        shown = page.get(f"/subscriptions/{name}").text
        assert f'href="/subscriptions/{name}/kit"' in shown
        answer = page.get(f"/subscriptions/{name}/kit")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            folder = archive.namelist()[0].partition("/")[0]
            for each in archive.namelist():
                assert archive.read(each) == (kits / each).read_bytes()
            assert len(archive.namelist()) >= 4 * feeds
        assert folder in answer.headers["content-disposition"]
    assert page.get(f"/subscriptions/{customs.code}.nothing/kit").status_code == 404


def test_top_says_what_the_consoles_first_page_says(customs: Customs, page: httpx.Client) -> None:
    told = customs.mesh.done("top")
    assert told["feeds"]["all"] >= 1
    assert {"well", "attention", "captured_per_second", "processes"} <= set(told)
    text = customs.mesh.run("top", "--once").out
    assert "运行总览" in text
    home = page.get("/?all=1").text
    grave = [each["name"] for each in told["attention"] if each["is_grave"] and customs.mesh.unique in each["name"]]
    assert [name for name in grave if name not in home] == []
    assert customs.grant in home
