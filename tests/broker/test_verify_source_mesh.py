"""`mesh verify --source` as people meet it: what it prints, what it waits for, what is left of it when it is killed."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg

from ops.settings import load
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec
from tests.broker.test_ledger import forged
from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until

NAME = "张三丰四二"
SLOTS = (
    "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND slot_name LIKE 'mesh_fence_%'"
)


def renamed(mesh: RunningMesh, value: bytes) -> bytes:
    """The record's row with another name, at a position right behind its own."""
    with closing(RegistryClient(load(mesh.directory).registry)) as registry:
        codec = Codec(registry.schema)
        envelope = codec.decode(value)
        envelope["after"] |= {"name": NAME}
        sequence: str = envelope["source"]["sequence"]
        envelope["source"]["sequence"] = sequence[:-10] + "00000077" + sequence[-2:]
        return codec.encode(int.from_bytes(value[1:5], "big"), envelope)


def test_a_feed_is_compared_found_out_and_mended_by_the_letter(mesh: RunningMesh) -> None:
    agency = f"{mesh.unique}a"
    source, feed = mesh.database(agency), f"{agency}.t"
    mesh.agency(agency, {"t": contract(["id"], {"id": "string", "name": "string"})})
    with database(source) as town:
        town.execute("CREATE TABLE t (id text PRIMARY KEY, name text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT '44019919660228' || n, 'name ' || n FROM generate_series(1000, 2999) n")
        mesh.done("onboard", mesh.folder)
        found = mesh.done("verify", feed, "--source", "--within", "60")
        assert (found["exact"], found["rows"], found["found"], found["compared_by"]) == (True, 2000, 2000, "checksums")
        assert town.execute(SLOTS).fetchall() == []

        # A transaction that stays open: what it waits for is named, and killed on the way it leaves nothing.
        with psycopg.connect(source) as slow:
            slow.execute("INSERT INTO t VALUES ('slow', 'slow')")
            pid = slow.info.backend_pid
            ran = mesh.run("verify", feed, "--source", "--within", "2")
            assert (ran.status, f"process {pid}" in ran.err, "--within" in ran.err) == (1, True, True)
            with mesh.started("verify", feed, "--source", "--within", "9") as process:
                until(lambda: town.execute(SLOTS).rowcount, 30, "it waits for its fence")
                process.kill()
            until(lambda: not town.execute(SLOTS).rowcount, 30, "its slot is gone, though the transaction is open")
            slow.commit()

        forged(mesh, feed, lambda value: renamed(mesh, value))
        ran = mesh.run("verify", feed, "--source", "--within", "60")
        assert (ran.status, "1 different" in ran.out) == (1, True)
        assert "440199" not in ran.out + ran.err
        assert NAME not in ran.out + ran.err
        found = mesh.run("verify", feed, "--source", "--json").json
        (key,) = found["keys"]
        assert (key["is"], len(key["key"]), found["sent"] < 20) == ("different", 16, True)
        again: dict[str, Any] = mesh.run("verify", feed, "--source", "--json").json
        assert again["keys"][0]["key"] == key["key"], "a key has the same hash each time"

        words = found["fix"].split("`")[1].split()
        assert words[:2] == ["mesh", "resync"]
        assert mesh.run(*words[1:]).status == 0
        until(lambda: mesh.run("verify", feed, "--source", "--within", "5").status == 0, 60, "exact after the fix")
        assert mesh.run("ledger", "accept", feed, "--reason", "a test").status == 0
