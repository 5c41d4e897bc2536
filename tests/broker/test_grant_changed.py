"""A grant that is changed while it runs: its subscriber gets the difference, on a live feed, and the history says which."""

from __future__ import annotations

from tests.broker.test_a7_requests import done, feed_of
from tests.stage.running_mesh import RunningMesh, changing
from tests.stage.until import until

COUNT = 1_000


def test_a_wider_filter_brings_what_enters_a_narrower_one_takes_back_what_leaves_and_nothing_comes_twice(
    mesh: RunningMesh,
) -> None:
    source, feed = feed_of(mesh, COUNT)
    subscriber = f"{mesh.unique}s"
    mesh.database(subscriber)
    grant_id = f"{subscriber}.{feed}"

    def onboard(row_filter: str, *columns: str) -> None:
        mesh.done("onboard", mesh.subscriber(subscriber, {"feed": feed, "columns": columns, "row_filter": row_filter}))

    def topic() -> dict[str, int]:
        """The records of its topic, by what they are; tombstones left out."""
        counted: dict[str, int] = {}
        for seen in mesh.seen(f"out.{grant_id}"):
            if seen.value is not None:
                row = seen.value["after"] or seen.value["before"]
                if row["id"] <= COUNT:
                    what = seen.headers.get("reason", seen.value["op"])
                    counted[what] = counted.get(what, 0) + 1
        return counted

    onboard("score > 500", "name")
    mesh.verified(grant_id, 500)
    assert topic() == {"r": 500}
    with changing(source, "INSERT INTO t VALUES (2000 + %(n)s, 'late', 999)"):
        onboard("score > 490", "name")
        until(lambda: topic() == {"r": 510}, 60, "the ten rows that enter, and no other again")
        onboard("score > 510", "name")
        until(lambda: topic() == {"r": 510, "OUT_OF_SCOPE": 20}, 60, "the twenty that left")
    mesh.verified(grant_id)
    assert topic() == {"r": 510, "OUT_OF_SCOPE": 20}
    # A column more is held by every row: all of them come with it.
    onboard("score > 510", "name", "score")
    mesh.verified(grant_id)
    assert topic() == {"r": 1_000, "OUT_OF_SCOPE": 20}
    history = done(mesh, "show", grant_id)["history"]
    assert [(step["act"], step["reason"]) for step in history] == [
        ("given by folder", ""),
        ("changed by folder", "row_filter"),
        ("changed by folder", "row_filter"),
        ("changed by folder", "columns +score"),
    ]
