"""A live feed in a running mesh: its address refused with a way out, then followed as the README says, and compared."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from ops.proof.compare import Comparison, compare
from schemas.agreement.grant import Grant
from schemas.contract import Contract
from schemas.log.control.follower import read_directory
from sinks.http.copy import WebhookCopy
from tests.stage.live_feed import TOKEN, Subscriber, free_port
from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until

TABLE = contract(["id"], {"id": "int", "note": "string", "weight": "double"})
README = Path(__file__).parents[2] / "README.md"


def folder_of(mesh: RunningMesh, code: str, feed: str, **sink: Any) -> dict[str, Any]:
    """A subscriber's folder, and the entry of its grant."""
    folder = mesh.folder / code
    folder.mkdir(exist_ok=True)
    entry = {"feed": feed, "columns": ["id", "note", "weight"], "purpose": "核验"}
    named = {"name": "live", "kind": "live", "token": "${LIVE_TOKEN}", **sink}
    text = {"subscriber": code, "name": "订阅方", "sinks": [named], "grants": [{**entry, "sink": "live"}]}
    (folder / "subscriber.yaml").write_text(json.dumps(text, ensure_ascii=False))
    return entry


@contextmanager
def followed(subscriber: Subscriber, log: Path) -> Iterator[Any]:
    """A stream whose events are kept, one a line, as a receiver of webhooks keeps what it is posted; the next event by each call."""
    with closing(subscriber.stream()) as stream, log.open("a") as kept:  # pyright: ignore[reportArgumentType]

        def one() -> Any:
            event = next(stream)
            kept.write(event.data + "\n")
            kept.flush()
            return json.loads(event.data)

        yield one


def test_a_subscriber_follows_its_rows_live_and_has_them_exactly(mesh: RunningMesh, tmp_path: Path) -> None:
    agency, code = f"{mesh.unique}a", f"{mesh.unique}s"
    feed = f"{agency}.t"
    with database(mesh.database(agency)) as town:
        town.execute(
            "CREATE TABLE t (id int PRIMARY KEY, note text, weight float8); ALTER TABLE t REPLICA IDENTITY FULL"
        )
        town.execute("INSERT INTO t SELECT id, '笔' || id, id / 3.0 FROM generate_series(1, 60) id")
        mesh.agency(agency, {"t": TABLE})
        url = f"http://127.0.0.1:{free_port()}"
        entry = folder_of(mesh, code, feed, options={"listen": url.replace("127.0.0.1", "0.0.0.0")})
        ran = mesh.run("check", mesh.folder)
        assert (ran.status, "https://ADDRESS:PORT" in ran.out) == (1, True), ran
        folder_of(mesh, code, feed, options={"listen": url})
        mesh.variables["LIVE_TOKEN"] = "too-short"
        ran = mesh.run("onboard", mesh.folder)
        assert (ran.status, "32 or more random characters" in ran.out + ran.err) == (1, True), ran
        mesh.variables["LIVE_TOKEN"] = TOKEN
        mesh.done("onboard", mesh.folder)
        with closing(Subscriber(url)) as subscriber:
            until(lambda: is_served(subscriber), 60, "it is served")
            log = tmp_path / "kept.jsonl"

            def compared() -> Comparison:
                rows = town.execute("SELECT id, note, weight FROM t").fetchall()
                source = [dict(zip(("id", "note", "weight"), row, strict=True)) for row in rows]
                grant = Grant(
                    grant_id=f"{code}.{feed}", subscriber=code, **{**entry, "columns": tuple(entry["columns"])}
                )
                return compare(grant, Contract.parse(TABLE, feed), source, WebhookCopy(log=log))

            with followed(subscriber, log) as one:
                until(lambda: one() and compared().is_exact, 60, "the rows that stood")
                town.execute("UPDATE t SET note = note || '新' WHERE id % 2 = 0; DELETE FROM t WHERE id % 7 = 0")
                until(lambda: one() and compared().is_exact, 60, "the changes, live")
            town.execute(
                "INSERT INTO t VALUES (1000, NULL, 'NaN'), (1001, '', '-Infinity'); DELETE FROM t WHERE id = 1"
            )
            with followed(subscriber, log) as one:
                until(lambda: one() and compared().is_exact, 60, "what it missed")
            assert compared().expected == 53
            assert walk(url) >= 60, "curl sees the feed from its beginning"
            answer = subscriber.client.post("/v1/ack", json={"position": subscriber.position})
            assert answer.status_code == 200, answer.text
            until(lambda: lag(mesh, f"{code}.{feed}") == 0, 30, "mesh status shows that nothing is behind")
            assert mesh.run("grant", f"{code}.{feed}", "REVOKED").status == 0
            taken = until(lambda: subscriber.take(wait=1), 30, "it is told that its grant is over")
            assert [(each["change"]["op"], each["change"]["reason"]) for each in taken] == [("t", "GRANT_ENDED")]
            subscriber.acknowledge(taken)
            until(lambda: is_over(mesh, f"out.{code}.{feed}"), 40, "its end is confirmed")
            until(lambda: not is_served(subscriber), 20, "nobody listens where nothing is granted")
    written = [path for path in mesh.directory.rglob("*") if path.is_file() and path.suffix in {".log", ".json"}]
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()], "a token is kept in no log"


def is_served(subscriber: Subscriber) -> bool:
    try:
        return subscriber.client.get("/v1/changes?max=1").status_code == 200
    except httpx.ConnectError:
        return False


def is_over(mesh: RunningMesh, topic: str) -> bool:
    ending = read_directory(mesh.kafka).endings.get(topic)
    return ending is not None and ending.acknowledged_at is not None


def lag(mesh: RunningMesh, grant_id: str) -> Any:
    (status,) = [each for each in mesh.run("status", "--json").json["subscriptions"] if each["grant_id"] == grant_id]
    return status["lag_records"]


def walk(url: str) -> int:
    """The README's command, as it stands there but for the address: how many changes it shows within its time."""
    (line,) = re.findall(r"^curl -N .*$", README.read_text("utf-8"), re.MULTILINE)
    command = shlex.split(line.replace("http://127.0.0.1:8470", url).replace("$CUSTOMS_TOKEN", TOKEN).partition("#")[0])
    ran = subprocess.run([*command, "--max-time", "5"], capture_output=True, text=True, check=False)
    assert "event: " in ran.stdout, ran
    return ran.stdout.count("\ndata: ")
