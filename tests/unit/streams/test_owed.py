"""A grant that is changed while it runs: its subscriber gets the difference, and ends up with exactly the rows that it may have."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

import pytest

from schemas.agreement.grant import Grant, Mask, Status
from schemas.expression.expression import parse
from schemas.expression.predicate import predicate
from tests.stage.until import until
from tests.unit.streams.memory import MemoryMesh
from tests.unit.streams.test_egress import envelope_of
from tests.unit.streams.test_relay import GRANT, caught_up, contract_with, created, grant_of, mesh, row

__all__ = ["mesh"]

HERE, THERE = "region == '440106'", "region == '440104'"


def changed(mesh: MemoryMesh, former: Grant, later: Grant, partitions: int = 1) -> list[Any]:
    """What the change alone sends, on a feed whose records were served by the former grant."""
    mesh.grant(former)
    relay = mesh.relay()
    for partition in range(partitions):
        relay.handle([mesh.whole(partition)])
    served = len(mesh.topics[f"out.{GRANT}"])
    mesh.grant(later)
    until(lambda: caught_up(mesh, relay, partitions), 5, "it is live by its new definition")
    return mesh.out(GRANT)[served:]


def names(sent: list[Any]) -> list[tuple[str, str, str]]:
    return [(op, row["ent_id"], reason) for op, row, reason in sent if op is not None]


def test_a_wider_filter_sends_what_enters_and_nothing_that_is_there(mesh: MemoryMesh) -> None:
    for number in range(50):
        mesh.put(created(number, region="440104" if number == 7 else "440106"))
    sent = changed(mesh, grant_of(HERE), grant_of(f"{HERE} || {THERE}"))
    assert names(sent) == [("r", "e7", "")]


def test_no_filter_any_more_sends_what_was_outside_and_a_new_one_takes_back_what_is_not_inside(
    mesh: MemoryMesh,
) -> None:
    for number in range(10):
        mesh.put(created(number, region="440104" if number < 2 else "440106"))
    assert names(changed(mesh, grant_of(HERE), grant_of())) == [("r", "e0", ""), ("r", "e1", "")]
    assert names(changed(mesh, grant_of(), grant_of(THERE))) == [
        ("d", f"e{number}", "OUT_OF_SCOPE") for number in range(2, 10)
    ]


def test_an_added_column_sends_the_rows_in_which_it_holds_something(mesh: MemoryMesh) -> None:
    for number in range(10):
        mesh.put(created(number, note="x" if number == 3 else None))
    sent = changed(mesh, grant_of(), grant_of(columns=("uscc", "region", "note")))
    assert [(op, after["ent_id"], after["note"]) for op, after, _ in sent] == [("r", "e3", "x")]


@pytest.mark.parametrize(
    "later",
    [
        grant_of(columns=("region",)),
        grant_of(mask={"region": Mask.MASK}),
        grant_of(mask={"ent_id": Mask.HASH}),
        grant_of(mask={"region": Mask.DROP}),
    ],
    ids=["a column less", "masked", "hashed key", "dropped"],
)
def test_where_every_row_is_another_one_every_row_is_sent(mesh: MemoryMesh, later: Grant) -> None:
    for number in range(5):
        mesh.put(created(number))
    assert len(changed(mesh, grant_of(), later)) == 5


def test_another_purpose_or_basis_sends_nothing(mesh: MemoryMesh) -> None:
    mesh.put(created(1))
    assert changed(mesh, grant_of(), dataclasses.replace(grant_of(), legal_basis="another")) == []


def test_what_came_while_it_was_suspended_is_sent_whole(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of(HERE))
    relay = mesh.relay()
    relay.handle([mesh.put(created(1)), mesh.put(created(9), partition=1)])
    mesh.grant(dataclasses.replace(grant_of(HERE), status=Status.SUSPENDED))
    relay.handle([mesh.put(created(2))])
    mesh.grant(grant_of(f"{HERE} || {THERE}"))
    until(lambda: caught_up(mesh, relay, 2), 5, "it is live by its new definition")
    assert ("r", "e2", "") in names(mesh.out(GRANT))
    assert names(mesh.out(GRANT)).count(("c", "e1", "")) == 1


def test_after_a_truncate_everything_is_sent(mesh: MemoryMesh) -> None:
    for envelope in (created(1), envelope_of("t", None, None), created(2)):
        mesh.put(envelope)
    sent = changed(mesh, grant_of(HERE), grant_of())
    assert [op for op, _, _ in sent] == ["t", "r"]


DEFINITIONS = [
    grant_of(HERE),
    grant_of(THERE),
    grant_of(f"{HERE} || {THERE}"),
    grant_of(),
    grant_of(HERE, columns=("uscc", "region", "note")),
    grant_of("note != null", columns=("uscc", "region", "note")),
    grant_of("uscc == null"),
]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happened_before_and_whatever_is_changed_the_rows_are_exactly_those_that_it_may_have(
    seed: int,
) -> None:
    chance = random.Random(seed)
    mesh = MemoryMesh(contract_with())
    rows: dict[str, dict[str, Any]] = {}

    def happen(count: int) -> None:
        for _ in range(count):
            number = chance.randrange(8)
            before = rows.get(f"e{number}")
            after = row(
                number,
                region=chance.choice(["440106", "440104", "440101", None]),
                note=chance.choice([None, "x"]),
                uscc=chance.choice([None, "91440101MA00000001"]),
            )
            if before is not None and chance.random() < 0.25:
                mesh.put(envelope_of("d", before, None))
                del rows[f"e{number}"]
                continue
            if chance.random() < 0.02:
                mesh.put(envelope_of("t", None, None))
                rows.clear()
                continue
            mesh.put(envelope_of("u" if before else "c", before, after))
            rows[f"e{number}"] = after

    handled = 0
    relay = mesh.relay()
    for _ in range(4):
        grant = chance.choice(DEFINITIONS)
        mesh.grant(grant)
        until(lambda: caught_up(mesh, relay, 1), 5, "it is live")
        if chance.random() < 0.3:
            mesh.grant(dataclasses.replace(grant, status=Status.SUSPENDED))
        happen(chance.randrange(12))
        if mesh.log[0][handled:]:
            relay.handle([mesh.whole(0, handled)])
            handled = len(mesh.log[0])
    final = chance.choice(DEFINITIONS)
    mesh.grant(final)
    until(lambda: caught_up(mesh, relay, 1), 5, "it is live at last")
    keeps = predicate(parse(final.row_filter), mesh.contract) if final.row_filter else lambda _: True
    wanted = {
        name: {column: each[column] for column in ("ent_id", *final.columns)}
        for name, each in rows.items()
        if keeps(each)
    }
    assert folded(mesh, final) == wanted


def folded(mesh: MemoryMesh, grant: Grant) -> Mapping[str, Mapping[str, Any]]:
    """What a reader of the topic has that goes by nothing but the order of its records."""
    held: dict[str, Mapping[str, Any]] = {}
    for key, value, _, _ in mesh.topics[f"out.{GRANT}"]:
        if value is None:
            continue
        envelope = mesh.codec.decode(bytes(value))
        if envelope["op"] == "t":
            held.clear()
            continue
        name = mesh.codec.decode(key)["ent_id"]
        if envelope["op"] == "d":
            held.pop(name, None)
        else:
            held[name] = {column: envelope["after"].get(column) for column in ("ent_id", *grant.columns)}
    return held
