from __future__ import annotations

import dataclasses
import re
import threading
from datetime import timedelta
from typing import Any

import pytest

from schemas.agreement.grant import Grant, Mask, Status
from schemas.contract import Contract
from schemas.errors import Transient
from schemas.feed import dead_letter_topic
from tests.stage.until import until
from tests.unit.streams.memory import NOW, MemoryMesh
from tests.unit.streams.test_egress import envelope_of

FEED = "aic.enterprise"
GRANT = f"customs.{FEED}"


def contract_with(*rules: dict[str, Any], region: dict[str, Any] | None = None) -> Contract:
    return Contract.parse(
        {
            "type": "record",
            "name": "Enterprise",
            "gov": {"key": ["ent_id"], "rules": list(rules)},
            "fields": [
                {"name": "ent_id", "type": "string"},
                {"name": "uscc", "type": ["null", "string"], "gov": {"element": "uscc"}},
                {"name": "legal_rep_id", "type": ["null", "string"], "gov": {"element": "citizen_id"}},
                {"name": "region", "type": ["null", "string"], "gov": region or {}},
                {"name": "note", "type": ["null", "string"]},
            ],
        },
        FEED,
    )


def grant_of(row_filter: str | None = None, columns: tuple[str, ...] = ("uscc", "region"), **more: Any) -> Grant:
    return Grant(
        grant_id=more.pop("grant_id", GRANT),
        subscriber=more.pop("subscriber", "customs"),
        feed=FEED,
        columns=columns,
        purpose="duty",
        row_filter=row_filter,
        **more,
    )


def row(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"ent_id": f"e{number}", "uscc": None, "legal_rep_id": None, "region": "440106", "note": None, **more}


def created(number: int = 1, **more: Any) -> dict[str, Any]:
    return envelope_of("c", None, row(number, **more))


@pytest.fixture
def mesh() -> MemoryMesh:
    return MemoryMesh(contract_with())


def test_a_change_reaches_who_is_granted_it_with_purpose_and_partition(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of())
    mesh.relay().handle([mesh.put(created(), partition=1)])
    [(key, value, partition, headers)] = mesh.topics[f"out.{GRANT}"]
    assert (key, partition) == (mesh.log[1][0].key, 1)
    said = dict(headers)
    assert re.fullmatch(rb"[0-9a-f]{32}", said.pop("trace_id"))
    assert said == {"grant_id": GRANT.encode(), "purpose": b"duty"}
    assert mesh.codec.decode(value)["after"] == {"ent_id": "e1", "uscc": None, "region": "440106"}
    assert mesh.told == [("processed", 1), ("routed", GRANT, 1, 0)]


def test_nothing_flows_without_an_active_grant(mesh: MemoryMesh) -> None:
    for status in Status:
        if status is not Status.ACTIVE:
            mesh.grant(grant_of(status=status))
            mesh.relay().handle([mesh.put(created())])
    mesh.grant(grant_of(valid_from=NOW + timedelta(seconds=1)))
    mesh.relay().handle([mesh.put(created())])
    assert not mesh.topics


def test_expiry_and_revocation_stop_a_running_feed_at_the_next_batch(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of(valid_to=NOW + timedelta(seconds=1)))
    relay = mesh.relay()
    relay.handle([mesh.put(created(1))])
    mesh.now = NOW + timedelta(seconds=1)
    relay.handle([mesh.put(created(2))])
    assert [after["ent_id"] for _, after, _ in mesh.out(GRANT)] == ["e1"]
    assert mesh.progress[f"{GRANT}/0"]["stopped_at"] == 1


def test_suspended_grant_gets_what_it_missed_before_it_goes_on(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of())
    relay = mesh.relay()
    relay.handle([mesh.put(created(1))])
    mesh.grant(grant_of(status=Status.SUSPENDED))
    relay.handle([mesh.put(created(2))])
    relay.handle([mesh.put(created(3))])
    mesh.grant(grant_of())
    relay.handle([mesh.put(created(4))])
    until(lambda: caught_up(mesh, relay, 4), 5, "the grant is live again")
    relay.handle([mesh.put(created(5))])
    assert [after["ent_id"] for _, after, _ in mesh.out(GRANT)] == ["e1", "e2", "e3", "e4", "e5"]
    assert mesh.replays[0][:2] == (0, 1)  # from where it was stopped, not from the start


def caught_up(mesh: MemoryMesh, relay: Any, offset: int) -> bool:
    relay.idle({(FEED, 0): offset})
    record = mesh.progress.get(f"{GRANT}/0")
    return bool(record and record["live_from"] is not None and record["stopped_at"] is None)


def test_new_grant_on_a_running_feed_is_backfilled_in_order_and_without_a_gap(mesh: MemoryMesh) -> None:
    relay = mesh.relay()
    mesh.grant(grant_of(grant_id=f"boc.{FEED}", subscriber="boc"))
    for number in range(10):
        relay.handle([mesh.put(created(number))])
    mesh.grant(grant_of())
    number = 10
    while not caught_up(mesh, relay, number):
        relay.handle([mesh.put(created(number))])
        number += 1
    relay.handle([mesh.put(created(number))])
    expected = [f"e{n}" for n in range(number + 1)]
    assert [after["ent_id"] for _, after, _ in mesh.out(GRANT)] == expected
    assert [after["ent_id"] for _, after, _ in mesh.out(f"boc.{FEED}")] == expected  # the other grant never waited
    assert sum(told[2] for told in mesh.told if told[0] == "backfilled") >= 10


def test_finished_backfill_is_not_repeated_after_a_restart_and_an_unfinished_one_is(mesh: MemoryMesh) -> None:
    mesh.relay().handle([mesh.put(created(1))])
    mesh.grant(grant_of())
    replay, entered, stuck = mesh.replay, threading.Event(), threading.Event()

    def stand_still(*place: int) -> Any:
        entered.set()
        stuck.wait(5)
        return iter(())

    mesh.replay = stand_still  # type: ignore[method-assign]
    first = mesh.relay(hand_over_records=0)
    first.handle([mesh.put(created(2))])
    assert entered.wait(5)
    assert mesh.progress[f"{GRANT}/0"]["definition"] is None
    mesh.replay = replay  # type: ignore[method-assign]
    second = mesh.relay()
    until(lambda: caught_up(mesh, second, 2), 5, "the second worker has made the grant live")
    assert [after["ent_id"] for _, after, _ in mesh.out(GRANT)] == ["e1", "e2"]
    mesh.replays.clear()
    mesh.relay().handle([mesh.put(created(3))])
    assert [after["ent_id"] for _, after, _ in mesh.out(GRANT)] == ["e1", "e2", "e3"]
    assert not mesh.replays
    stuck.set()


def test_redefined_grant_is_served_anew_and_takes_back_what_left_its_filter(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of("region == '440106'"))
    relay = mesh.relay()
    relay.handle([mesh.put(created(1)), mesh.put(created(9), partition=1)])
    relay.handle([mesh.put(created(2, region="440104"))])
    mesh.grant(grant_of("region == '440104'", columns=("region", "note")))
    until(lambda: caught_up(mesh, relay, 2), 5, "the grant is live by its new definition")
    seen = [entry for entry in mesh.out(GRANT) if entry[1] is None or entry[1]["ent_id"] != "e9"]
    assert seen[1:] == [
        ("d", {"ent_id": "e1", "region": "440106", "note": None}, "OUT_OF_SCOPE"),
        (None, None, ""),
        ("r", {"ent_id": "e2", "region": "440104", "note": None}, ""),
    ]


def test_quiet_feed_is_backfilled_too(mesh: MemoryMesh) -> None:
    mesh.put(created(1))
    mesh.grant(grant_of())
    relay = mesh.relay()
    until(lambda: caught_up(mesh, relay, 1), 5, "the grant is live without a record coming")
    assert [after["ent_id"] for _, after, _ in mesh.out(GRANT)] == ["e1"]


def test_grant_revoked_during_its_backfill_gets_no_more(mesh: MemoryMesh) -> None:
    relay = mesh.relay(hand_over_records=0)
    for number in range(9):
        relay.handle([mesh.put(created(number))])
    replay, mid, go_on = mesh.replay, threading.Event(), threading.Event()

    def slow(*place: Any) -> Any:
        for batch in replay(*place):
            yield batch
            mid.set()
            assert go_on.wait(5)

    mesh.replay = slow  # type: ignore[method-assign]
    mesh.grant(grant_of())
    relay.idle({(FEED, 0): 9})
    assert mid.wait(5)
    mesh.grant(grant_of(status=Status.REVOKED))
    go_on.set()
    relay.idle({(FEED, 0): 9})
    assert len(mesh.out(GRANT)) == 3
    assert mesh.progress[f"{GRANT}/0"]["live_from"] is None


def test_failed_flush_gives_the_same_group_again_and_counts_once(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of())
    relay = mesh.relay()
    batch = mesh.put(created())
    mesh.flushes_to_fail = 1
    with pytest.raises(Transient):
        relay.handle([batch])
    assert not mesh.told
    relay.handle([batch])
    assert len(mesh.out(GRANT)) == 1
    assert mesh.told == [("processed", 1), ("routed", GRANT, 1, 0)]


def test_feed_that_is_not_in_the_directory_is_transient(mesh: MemoryMesh) -> None:
    batch = mesh.put(created())
    mesh.directory = dataclasses.replace(mesh.directory, feeds={})
    with pytest.raises(Transient, match="not in the directory"):
        mesh.relay().handle([batch])


def test_poison_is_dead_lettered_and_the_rest_goes_on(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of())
    whole = mesh.codec.encode(2, created())
    for poison in (b"", b"\x01abcdef", b"\x00\x00\x00\x00\x63abc", whole[:-5], whole[:20], whole + b"\x00"):
        mesh.put(poison)
    mesh.put(created(7))
    mesh.relay().handle([mesh.whole()])
    reasons = [
        dict(headers)["mesh.errors.reason"].decode() for _, _, _, headers in mesh.topics[dead_letter_topic(FEED)]
    ]
    assert reasons[:3] == ["bad_magic", "bad_magic", "unknown_schema"]
    assert len(reasons) == 6
    assert [after["ent_id"] for _, after, _ in mesh.out(GRANT)] == ["e7"]
    assert ("routed", GRANT, 1, 0) in mesh.told


def test_every_change_is_delivered_suppressed_or_rejected_once_for_each_grant() -> None:
    mesh = MemoryMesh(contract_with({"name": "has_note", "expr": "note == null || note != 'bad'", "onFailure": "DLQ"}))
    mesh.grant(grant_of("region == '440106'"))
    mesh.grant(grant_of(grant_id=f"boc.{FEED}", subscriber="boc"))
    here, there = row(1), row(1, region="440104")
    for envelope in (
        created(1),
        envelope_of("u", here, there),
        envelope_of("u", there, there),
        envelope_of("u", None, there),
        envelope_of("u", there, here),
        created(2, note="bad"),
        envelope_of("d", here, None),
        envelope_of("t", None, None),
    ):
        mesh.put(envelope)
    mesh.put(None)
    mesh.relay().handle([mesh.whole()])
    assert mesh.told == [
        ("processed", 8),
        ("rejected", "rule_has_note", 1),
        ("routed", GRANT, 5, 2),
        ("routed", f"boc.{FEED}", 7, 0),
    ]
    assert [(op, reason) for op, _, reason in mesh.out(GRANT)] == [
        ("c", ""),
        ("d", "OUT_OF_SCOPE"),
        (None, ""),
        ("c", ""),
        ("d", "SOURCE_DELETED"),
        (None, ""),
        ("t", ""),
    ]
    letters = [dict(headers) for _, _, _, headers in mesh.topics[dead_letter_topic(FEED)]]
    assert [(letter["__connect.errors.stage"], letter.get("mesh.errors.subscriber")) for letter in letters] == [
        (b"enrich", None)
    ]


def test_record_too_large_for_one_grant_is_still_delivered_to_the_other(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of(columns=("note",)))
    mesh.grant(grant_of(grant_id=f"boc.{FEED}", subscriber="boc"))
    mesh.record_bytes_max = 400
    mesh.relay().handle([mesh.put(created(1, note="x" * 500))])
    assert [op for op, _, _ in mesh.out(f"boc.{FEED}")] == ["c"]
    assert ("rejected", "too_large", 1) in mesh.told


def test_marks_reach_only_who_sees_their_columns_in_clear(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of(columns=("uscc", "legal_rep_id")))
    mesh.grant(grant_of(grant_id=f"boc.{FEED}", subscriber="boc", columns=("uscc",)))
    masks = {"legal_rep_id": Mask.HASH}
    mesh.grant(grant_of(grant_id=f"fda.{FEED}", subscriber="fda", columns=("legal_rep_id",), mask=masks))
    mesh.relay().handle([mesh.put(created(1, uscc="91440199MA00000156", legal_rep_id="440199750815012"))])
    check = {"code": "CHECK", "columns": ["uscc"], "normalised": None}
    upgraded = {"code": "UPGRADED", "columns": ["legal_rep_id"], "normalised": "440199197508150124"}

    def marks(grant_id: str) -> Any:
        return mesh.codec.decode(mesh.topics[f"out.{grant_id}"][0][1])["dq"]

    assert marks(GRANT) == [check, upgraded] or marks(GRANT) == [upgraded, check]
    assert marks(f"boc.{FEED}") == [check]
    assert marks(f"fda.{FEED}") is None


def test_value_outside_the_vocabulary_and_warned_rule_are_marked_and_flow() -> None:
    warn = {"name": "note_given", "expr": "note != null", "onFailure": "WARN"}
    mesh = MemoryMesh(contract_with(warn, region={"values": {"440106": "天河"}}))
    mesh.grant(grant_of(columns=("region", "note")))
    mesh.relay().handle([mesh.put(created(1, region="999999"))])
    assert mesh.codec.decode(mesh.topics[f"out.{GRANT}"][0][1])["dq"] == [
        {"code": "VALUES", "columns": ["region"], "normalised": None},
        {"code": "note_given", "columns": ["note"], "normalised": None},
    ]


def test_birth_after_the_commit_is_marked(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of(columns=("legal_rep_id",)))
    first_17 = "44019920161224001"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    check = "10X98765432"[sum(int(digit) * weight for digit, weight in zip(first_17, weights, strict=True)) % 11]
    born_later = created(1, legal_rep_id=first_17 + check)
    for committed_at_ms in (1_480_000_000_000, 1_483_000_000_000):  # 2016-11-24 and 2016-12-29
        mesh.put({**born_later, "source": {**born_later["source"], "ts_ms": committed_at_ms}})
    mesh.relay().handle([mesh.whole()])
    marks = [mesh.codec.decode(value)["dq"] for _, value, _, _ in mesh.topics[f"out.{GRANT}"]]
    assert marks == [[{"code": "DATE", "columns": ["legal_rep_id"], "normalised": None}], None]


def test_unsent_column_is_filled_from_before_and_otherwise_named() -> None:
    rule = {"name": "note_given", "expr": "note != null", "onFailure": "DLQ"}
    mesh = MemoryMesh(contract_with(rule))
    mesh.grant(grant_of("note == 'long'", columns=("note",)))
    update = envelope_of("u", row(note="long"), row(), unchanged=["note"])
    mesh.put(update)
    mesh.put({**update, "before": None})
    mesh.relay().handle([mesh.whole()])
    [(_, value, _, _)] = mesh.topics[f"out.{GRANT}"]
    envelope = mesh.codec.decode(value)
    assert (envelope["after"], envelope["unchanged"]) == ({"ent_id": "e1", "note": "long"}, None)
    assert ("rejected", "scope_unknown", 1) in mesh.told

    keyed = MemoryMesh(contract_with(rule), is_keyed_only=True)
    keyed.grant(grant_of(columns=("note", "region")))
    keyed.relay().handle([keyed.put({**update, "before": None})])
    envelope = keyed.codec.decode(keyed.topics[f"out.{GRANT}"][0][1])
    assert (envelope["after"]["note"], envelope["unchanged"]) == (None, ["note"])


def test_hashed_key_is_the_key_on_the_out_topic_and_partition_stays(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of(mask={"ent_id": Mask.HASH}))
    mesh.relay().handle([mesh.put(created(), partition=1)])
    [(key, value, partition, _)] = mesh.topics[f"out.{GRANT}"]
    assert partition == 1
    hashed = mesh.codec.decode(key)["ent_id"]
    assert len(hashed) == 64
    assert mesh.codec.decode(value)["after"]["ent_id"] == hashed


def test_grant_that_cannot_be_applied_stops_nobody_else(mesh: MemoryMesh, caplog: pytest.LogCaptureFixture) -> None:
    mesh.grant(grant_of("regoin == '440106'"))
    mesh.grant(grant_of(grant_id=f"boc.{FEED}", subscriber="boc"))
    relay = mesh.relay()
    relay.handle([mesh.put(created(1))])
    assert [op for op, _, _ in mesh.out(f"boc.{FEED}")] == ["c"]
    mesh.grant(grant_of("region == '440106'"))
    until(lambda: caught_up(mesh, relay, 1), 5, "the mended grant is live")
    assert [op for op, _, _ in mesh.out(GRANT)] == ["r"]


def test_no_personal_value_is_in_errors_or_headers_of_dead_letters(mesh: MemoryMesh) -> None:
    mesh = MemoryMesh(contract_with({"name": "ok", "expr": "valid_uscc(uscc)", "onFailure": "DLQ"}))
    mesh.grant(grant_of("region == '440106'"))
    secret = "440199750815012"
    mesh.put(created(1, uscc=secret, legal_rep_id=secret))
    unsent = row(legal_rep_id=secret, uscc="91440199MA00000155", region=None)
    mesh.put(envelope_of("u", None, unsent, unchanged=["region"]))
    mesh.relay().handle([mesh.whole()])
    letters = mesh.topics[dead_letter_topic(FEED)]
    assert len(letters) == 2
    assert all(secret.encode() not in value for _, _, _, headers in letters for _, value in headers)


def test_position_ahead_of_what_was_handled_loses_nothing_of_a_suspended_grant(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of())
    relay = mesh.relay()
    relay.handle([mesh.put(created(1))])
    mesh.grant(grant_of(status=Status.SUSPENDED))
    late = mesh.put(created(2))
    relay.idle({(FEED, 0): 2})  # the record was fetched and is not handled yet
    relay.handle([late])
    mesh.grant(grant_of())
    until(lambda: caught_up(mesh, relay, 2), 5, "the grant is live again")
    assert [after["ent_id"] for _, after, _ in mesh.out(GRANT)] == ["e1", "e2"]


def test_position_behind_what_was_handled_skips_nothing(mesh: MemoryMesh) -> None:
    relay = mesh.relay()
    relay.handle([mesh.put(created(1))])
    relay.handle([mesh.put(created(2))])
    mesh.grant(grant_of())
    until(lambda: caught_up(mesh, relay, 1), 5, "the grant is live")
    relay.handle([mesh.put(created(3))])
    assert [after["ent_id"] for _, after, _ in mesh.out(GRANT)] == ["e1", "e2", "e3"]


def test_what_another_worker_did_meanwhile_counts(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of())
    first, second = mesh.relay(), mesh.relay()
    first.handle([mesh.put(created(1))])
    mesh.grant(grant_of(status=Status.SUSPENDED))
    second.handle([mesh.put(created(2))])  # the partition has moved, and the grant is stopped there
    mesh.grant(grant_of())
    first.assigned()
    first.handle([mesh.put(created(3))])  # and has moved back
    until(lambda: caught_up(mesh, first, 3), 5, "the grant is live again")
    assert [after["ent_id"] for _, after, _ in mesh.out(GRANT)] == ["e1", "e2", "e3"]


def test_group_of_many_partitions_is_reported_once(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of())
    mesh.relay().handle([mesh.put(created(1)), mesh.put(created(2), partition=1)])
    assert mesh.told == [("processed", 2), ("routed", GRANT, 2, 0)]


def test_filter_on_a_column_that_was_not_sent_decides_nothing(mesh: MemoryMesh) -> None:
    mesh.grant(grant_of("note == null", columns=("note",)))
    mesh.relay().handle([mesh.put(envelope_of("u", None, row(), unchanged=["note"]))])
    assert mesh.out(GRANT) == []
    assert ("rejected", "scope_unknown", 1) in mesh.told


def test_grant_suspended_for_a_moment_of_its_backfill_misses_nothing(mesh: MemoryMesh) -> None:
    relay = mesh.relay(hand_over_records=0)
    for number in range(9):
        relay.handle([mesh.put(created(number))])
    replay, steps = mesh.replay, [Status.ACTIVE, Status.SUSPENDED, Status.ACTIVE]

    def with_a_moment(*place: Any) -> Any:
        for batch in replay(*place):
            if steps:
                mesh.grant(grant_of(status=steps.pop()))
            yield batch

    mesh.replay = with_a_moment  # type: ignore[method-assign]
    mesh.grant(grant_of())
    relay.idle({(FEED, 0): 9})  # and the relay does not look again before the job is through
    until(lambda: not steps, 5, "the moment is over")
    until(lambda: caught_up(mesh, relay, 9), 5, "the grant is live")
    assert {after["ent_id"] for _, after, _ in mesh.out(GRANT)} == {f"e{number}" for number in range(9)}
