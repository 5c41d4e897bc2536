"""`mesh grant preview` on a running mesh: what would flow is what flows then, and nothing flows by looking."""

from __future__ import annotations

from tests.broker.test_a7_requests import done
from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until

FIELDS = {"id": "int", "citizen": "string", "name": "string", "district": "string", "score": "int"}
CANARY = "张三丰"


def test_a_dry_run_shows_what_flows_then_and_delivers_nothing(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    feed = f"{agency}.t"
    record = contract(["id"], FIELDS)
    tags = {"citizen": ["PII", "L4", "DIRECT_ID"], "name": ["PII", "L3"], "district": ["L1", "QUASI_ID"]}
    for field in record["fields"]:
        field["confluent:tags"] = tags.get(field["name"], ["L1"])
    mesh.agency(agency, {"t": record})
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, citizen text, name text, district text, score int)")
        town.execute("ALTER TABLE t REPLICA IDENTITY FULL")
        # 60 rows of 20 citizens; district 440101 has one row of score above 10.
        town.execute(
            "INSERT INTO t SELECT n, 'C' || n %% 20, %s, CASE WHEN n = 60 THEN '440101' ELSE '440102' END, n"
            " FROM generate_series(1, 60) n",
            (CANARY,),
        )
    mesh.done("onboard", mesh.folder / agency)
    until(lambda: len(mesh.records(feed)) == 60, 60, "the feed's rows")
    grant_id, table = f"{subscriber}.{feed}", feed.replace(".", "_")
    folder = mesh.subscriber(
        subscriber,
        {"feed": feed, "columns": ["name", "district", "score"], "row_filter": "score > 50", "mask": {"score": "HASH"}},
    )
    ran = mesh.run("grant", "preview", folder, "--json")
    assert ran.status == 0, ran.err
    assert CANARY not in ran.out
    [told] = ran.json["grants"]
    assert (told["grant_id"], told["changes"], told["would_flow"], told["rows"]) == (grant_id, 60, 10, 10)
    assert [(each["column"], each["mask"]) for each in told["columns"]] == [
        ("id", "FULL"), ("name", "FULL"), ("district", "FULL"), ("score", "HASH"),
    ]  # fmt: skip
    assert told["columns"][1]["tags"] == ["L3", "PII"]
    assert told["subjects"] == {"by": ["citizen"], "in_feed": 20, "touched": 10, "share": 0.5, "is_exact": True}
    groups = {"by": ["district"], "count": 2, "smallest": 1, "of_one": 1, "is_whole": True}
    assert told["groups"] == groups
    assert len(told["samples"]) == 5
    for sample in told["samples"]:
        assert (sample["name"], sample["score"]) == ("•••", "•••")
    assert not [topic for topic in mesh.topics() if topic.startswith(f"out.{grant_id}")], "looking makes nothing"
    # A moment is not long enough for anything to have come by.
    assert mesh.run("grant", "preview", folder, "--json", "--days", "0").json["grants"][0]["changes"] == 0

    done(mesh, "request", folder)
    waiting = mesh.run("grant", "preview", grant_id, "--json").json["grants"][0]
    assert (waiting["rows"], waiting["groups"]) == (10, groups)
    done(mesh, "approve", grant_id)
    done(mesh, "approve", grant_id)
    until(lambda: len(rows(target, table)) == 10, 60, "what was shown flows")
    ran = mesh.run("grant", "preview", grant_id)
    assert (ran.status, "10 would flow" in ran.out, CANARY in ran.out) == (0, True, False)
