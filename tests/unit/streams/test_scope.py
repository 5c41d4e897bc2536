"""What left the filter is removed though the source does not say what a row was (REPLICA IDENTITY DEFAULT, invariant 11)."""

from __future__ import annotations

import pytest

from schemas.agreement.grant import Mask
from tests.stage.until import until
from tests.unit.streams.memory import MemoryMesh
from tests.unit.streams.test_egress import envelope_of
from tests.unit.streams.test_relay import FEED, GRANT, contract_with, created, grant_of, row

KEY_ALONE = {"uscc": None, "legal_rep_id": None, "region": None, "note": None}


@pytest.fixture
def mesh() -> MemoryMesh:
    mesh = MemoryMesh(contract_with())
    mesh.grant(grant_of("region == '440106'"))
    return mesh


def held(mesh: MemoryMesh) -> set[str]:
    """The keys that a reader of the out topic ends with."""
    keys: set[bytes] = set()
    for key, value, _, _ in mesh.topics[f"out.{GRANT}"]:
        (keys.discard if value is None else keys.add)(key)
    return {mesh.codec.decode(key)["ent_id"] if key[4] == 1 else key.hex() for key in keys}


def test_rows_that_leave_without_their_past_are_removed_and_others_are_not_told_of(mesh: MemoryMesh) -> None:
    relay = mesh.relay()
    batches = [mesh.put(created(number)) for number in (1, 2, 3, 4)]
    batches.append(mesh.put(created(9, region="440104")))
    for batch in batches:
        relay.handle([batch])
    assert mesh.read_out_of == []  # rows came whole: nothing had to be read
    relay.handle([mesh.put(envelope_of("u", None, row(1, region="440104")))])  # leaves
    relay.handle([mesh.put(envelope_of("d", row(2, **KEY_ALONE), None))])  # deleted, and only the key came
    relay.handle([mesh.put(envelope_of("u", None, row(9, region="440103")))])  # was never inside
    relay.handle([mesh.put(envelope_of("d", row(9, **KEY_ALONE), None))])
    relay.handle([mesh.put(envelope_of("u", None, row(1)))])  # comes back
    relay.handle([mesh.put(envelope_of("d", row(1, **KEY_ALONE), None))])
    assert held(mesh) == {"e3", "e4"}
    assert mesh.read_out_of == [(f"out.{GRANT}", 0)]
    removals = [reason for op, _, reason in mesh.out(GRANT) if op == "d"]
    assert removals == ["OUT_OF_SCOPE", "SOURCE_DELETED", "SOURCE_DELETED"]
    assert not mesh.topics[f"dlq.{FEED}"]
    # A removal names the key and nothing else.
    assert all(not after["region"] and not after["uscc"] for op, after, _ in mesh.out(GRANT) if op == "d")


def test_after_a_failure_or_another_worker_it_is_read_again(mesh: MemoryMesh) -> None:
    first, second = mesh.relay(), mesh.relay()
    first.handle([mesh.put(created(1)), mesh.put(created(2), partition=1)])
    first.handle([mesh.put(envelope_of("u", None, row(1, region="440104")))])
    second.handle([mesh.put(envelope_of("u", None, row(1)))])
    first.assigned()
    first.handle([mesh.put(envelope_of("u", None, row(1, region="440104")))])
    assert held(mesh) == {"e2"}
    assert len(mesh.read_out_of) == 2


def test_a_backfill_takes_back_what_left_unseen(mesh: MemoryMesh) -> None:
    relay = mesh.relay()
    for number in range(4):
        relay.handle([mesh.put(created(number))])
    relay.handle([mesh.put(envelope_of("u", None, row(1, region="440104")))])
    mesh.grant(grant_of("region == '440106'", columns=("uscc", "region", "note")))
    relay.idle({(FEED, 0): 5})

    def is_live() -> bool:
        relay.idle({(FEED, 0): 5})
        return mesh.progress[f"{GRANT}/0"]["live_from"] is not None

    until(is_live, 5, "the grant is live by its new definition")
    relay.handle([mesh.put(envelope_of("d", row(2, **KEY_ALONE), None))])
    assert len(held(mesh)) == 2


def test_a_row_of_nulls_that_was_sent_whole_is_settled_the_same_way(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of("region == null"))
    relay = mesh.relay()
    relay.handle([mesh.put(created(1, region=None)), mesh.put(created(2))])
    relay.handle([mesh.put(envelope_of("d", row(1, region=None), None)), mesh.put(envelope_of("d", row(2), None))])
    assert held(mesh) == set()


def test_hashed_keys_are_looked_up_as_they_were_delivered(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of("region == '440106'", mask={"ent_id": Mask.HASH}))
    relay = mesh.relay()
    relay.handle([mesh.put(created(1)), mesh.put(created(2))])
    relay.handle([mesh.put(envelope_of("u", None, row(1, region="440104")))])
    relay.handle([mesh.put(envelope_of("d", row(2, **KEY_ALONE), None))])
    assert held(mesh) == set()
