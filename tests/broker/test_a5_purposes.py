"""HANDBOOK A5 on a running mesh: a purpose is mandatory, and a second one is a second grant with a trail of its own."""

from __future__ import annotations

from tests.broker.test_a7_requests import audited, done, feed_of, grant
from tests.stage.running_mesh import RunningMesh, rows
from tests.stage.until import until


def test_a5_a_purpose_is_mandatory_and_a_second_one_is_a_second_grant_with_its_own_trail(mesh: RunningMesh) -> None:
    _, feed = feed_of(mesh)
    subscriber = f"{mesh.unique}s"
    target, table = mesh.database(subscriber), feed.replace(".", "_")
    refused = grant(mesh, "request", mesh.subscriber(subscriber, {"feed": feed, "columns": ["name"], "purpose": " "}))
    assert (refused.status, "purpose" in refused.out) == (1, True)
    first, second = f"{subscriber}.{feed}", f"{subscriber}.{feed}.audit"
    plain = {"feed": feed, "columns": ["name"], "purpose": "报关核验"}
    other = {"feed": feed, "columns": ["score"], "purpose": "审计", "grant_id": second}
    folder = mesh.subscriber(subscriber, plain, other)
    assert set(done(mesh, "request", folder)["grants"]) == {first, second}
    for _ in range(2):
        done(mesh, "approve", first, "--by", "li")
    mesh.verified(first, 30)
    assert rows(target, f"{table}_audit") == [], "the other purpose is not approved by the way"
    for _ in range(2):
        done(mesh, "approve", second, "--by", "wang")
    mesh.verified(second, 30)
    assert (len(rows(target, table)[0]), len(rows(target, f"{table}_audit")[0])) == (2, 2)
    for grant_id, purpose in ((first, "报关核验"), (second, "审计")):
        assert {seen.headers["purpose"] for seen in mesh.seen(f"out.{grant_id}")} == {purpose}
    done(mesh, "revoke", first, "--reason", "用途终止", "--by", "li")
    until(lambda: rows(target, table) == [], 30, "the rows of that purpose are gone")
    mesh.verified(second, 30)
    trails = {name: trail(mesh, name) for name in (first, second)}
    asked = done(mesh, "show", second)["history"][0]["by"]
    begun = [("grant requested", asked)]

    def approved(by: str) -> list[tuple[str, str]]:
        return [(f"grant {act}", by) for act in ("approved by compliance", "approved by provider", "activated")]

    assert trails[first] == [*begun, *approved("li"), ("grant revoked", "li")]
    assert trails[second] == [*begun, *approved("wang")]


def trail(mesh: RunningMesh, grant_id: str) -> list[tuple[str, str]]:
    """What people did, and who."""
    return [
        (line["what"], line["by"]) for line in audited(mesh, grant_id) if "by" in line and line["what"] != "grant ended"
    ]
