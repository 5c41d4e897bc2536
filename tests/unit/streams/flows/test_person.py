"""The base person archive (HANDBOOK §2.5, §4 C). All numbers are of county codes that were never allocated."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from ops.city.numbers import fifteen_digits
from schemas.change import Change
from schemas.decision import ACCEPT, CORRECT, LEAVE_OUT, PREFER, UNDO
from schemas.expression.identifiers import citizen_check
from streams.engine.inbox.intake import InputReading
from streams.flows.person import FLOW
from streams.flows.person.past import as_of
from streams.operators.flow import Row, Subject
from tests.stage.rehearsal import Rehearsal, city_contracts, days, interleavings, micros

CONTRACTS = city_contracts()
FIELDS = frozenset(CONTRACTS["base.person"].by_name) - {
    "id_type", "id_no", "supersedes", "former_names", "region_as_of", "provenance", "base_version",
}  # fmt: skip
SEED = 20161031
LENT_ROW = 137
"""A history in which two numbers, each once the other's, kept telling one another a row that its source had taken back."""


def number(born: str, serial: int = 1) -> str:
    """A citizen ID; an odd serial is a man's."""
    first = f"440199{born.replace('-', '')}{serial:03}"
    return first + citizen_check(first)


WEI, FANG, CHILD = number("1975-08-15", 1), number("1976-03-02", 2), number("2008-05-05", 1)
NEW = number("1975-08-15", 3)


def resident(citizen_id: str, name: str = "张伟", **more: Any) -> dict[str, Any]:
    born = citizen_id if len(citizen_id) == 18 else f"{citizen_id[:6]}19{citizen_id[6:]}"
    return {
        "citizen_id": citizen_id,
        "name": name,
        "sex": "1" if int(born[16]) % 2 else "2",
        "ethnicity": "01",
        "birth_date": days(f"{born[6:10]}-{born[10:12]}-{born[12:14]}"),
        "hukou_region": "440106",
        "hukou_address": "天河路1号",
        "household_no": "H1",
        "status": "REGISTERED",
        **more,
    }


def death(cert_no: str, citizen_id: str | None, name: str, day: str, **more: Any) -> dict[str, Any]:
    died_at = days(day) * 86_400_000_000 + 3_600_000_000
    return {"cert_no": cert_no, "citizen_id": citizen_id, "name": name, "sex": "1", "died_at": died_at, **more}


def birth(cert_no: str, name: str, day: str, **more: Any) -> dict[str, Any]:
    born_at = days(day) * 86_400_000_000 + 7_200_000_000
    return {
        "cert_no": cert_no,
        "baby_name": name,
        "sex": "1",
        "born_at": born_at,
        "birth_region": "440103",
        "mother_id": FANG,
        **more,
    }


def student(student_no: str, citizen_id: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "student_no": student_no,
        "citizen_id": citizen_id,
        "name": name,
        "school_code": "S1",
        "status": "ENROLLED",
        **more,
    }


def marriage(
    marriage_no: str, male: str, male_name: str, day: str, kind: str = "MARRIAGE", **more: Any
) -> dict[str, Any]:
    return {
        "marriage_no": marriage_no, "kind": kind, "registered_date": days(day), "male_id": male, "male_name": male_name,
        "female_id": FANG, "female_name": "李芳", **more,
    }  # fmt: skip


class Archive(Rehearsal):
    """A rehearsal that reads as the archive does, and checks each row against its contract at the end."""

    def __init__(self, now: str = "2016-10-31") -> None:
        super().__init__(FLOW, CONTRACTS, now)

    def record(self, id_no: str, id_type: str = "CITIZEN_ID") -> Row:
        return self.rows("base.person")[f"{id_type}|{id_no}"]

    def lines(self, id_no: str) -> list[tuple[str, str]]:
        """Kind and effect of a person's lines, in order of their days."""
        found = [row for row in self.rows("base.person_event").values() if row["id_no"] == id_no]
        found.sort(key=lambda row: (row["occurred_on"], row["recorded_at"], row["kind"]))
        return [(row["kind"], row["effect"]) for row in found]

    def kinds(self) -> list[str]:
        return sorted(item["kind"] for item in self.queue())

    def subject(self, key: str) -> Subject:
        """The state that a query reads."""
        return self.folding.subjects.live(FLOW, key).subject

    def state(self) -> dict[str, dict[str, Row]]:
        return {feed: self.rows(feed) for feed in FLOW.outputs}


class Recorder(Archive):
    """Commits changes without giving them to the flow: `streams` are then merged in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: dict[str, list[Change]] = {}

    def take(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.streams.setdefault(change.feed, []).append(change)


def replay(changes: Iterable[Change]) -> Archive:
    city = Archive()
    city.take(changes)
    city.check_rows()
    return city


def told_apart(city: Archive) -> Mapping[str, Any]:
    return {row["field"]: (row["feed"], row["position"], row["committed_at"]) for row in city.record(WEI)["provenance"]}


# ── C1 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def life_of_wei() -> dict[str, list[Change]]:
    """Birth, hukou, school, marriage, death, each from its department, and the mother's household."""
    city, mother = Recorder(), number("1950-01-01", 2)
    city.now = "1975-09-01"
    city.insert("police.resident", **resident(mother, "王梅", household_no="H1", hukou_region="440105"))
    city.insert(
        "health.birth_certificate",
        **birth("P1", "张伟", "1975-08-15", mother_id=mother, issued_date=days("1975-08-18")),
    )
    city.insert("police.resident", **resident(WEI))
    city.now = "1982-09-01"
    city.insert("edu.student", **student("X1", WEI, "张伟", status_date=days("1982-09-01")))
    city.now = "2000-05-01"
    city.insert("civil.marriage", **marriage("J1", fifteen_digits(WEI), "張偉", "2000-05-01"))
    city.now = "2016-10-02"
    city.insert("health.death_certificate", **death("D1", WEI, "张伟", "2016-10-01"))
    city.now = "2016-10-05"
    city.insert("civil.cremation", cremation_no="H1", citizen_id=WEI, name="张伟", cremated_date=days("2016-10-04"))
    city.now = "2016-10-06"
    city.update("police.resident", {"citizen_id": WEI}, status="DECEASED", status_date=days("2016-10-05"))
    return city.streams


def test_c1_birth_to_death_is_one_person_in_any_order() -> None:
    streams = life_of_wei()
    expected = replay(change for stream in streams.values() for change in stream)
    assert [kind for kind, _ in expected.lines(WEI)] == ["BIRTH", "HUKOU", "SCHOOL", "MARRIAGE", "DEATH"]
    record = expected.record(WEI)
    assert (record["life_status"], record["death_date"]) == ("DECEASED", days("2016-10-01"))
    assert (record["marital_status"], record["school_code"]) == ("MARRIED", "S1")
    assert not expected.queue()
    for order in interleavings(streams.values(), SEED, 60):
        assert replay(order).state() == expected.state(), f"seed {SEED}"


def test_c1_any_interleaving_of_a_tangled_life_ends_alike() -> None:
    """Old numbers, changed numbers, unrelated names, deaths retracted, rows without numbers: all at once, many orders."""
    for seed in (LENT_ROW, *range(SEED, SEED + 6)):
        streams = tangled(seed)
        expected = replay(change for stream in streams.values() for change in stream).state()
        for order in interleavings(streams.values(), seed, 10):
            assert replay(order).state() == expected, f"seed {seed}"
            assert at_once(order).state() == expected, f"seed {seed}, in one batch"


def at_once(changes: Iterable[Change]) -> Archive:
    """All changes in one batch: subjects are folded when everything is there, and then hear of each other."""
    city = Archive()
    city.deliver(
        [
            message
            for change in changes
            if change.feed in city.intake.feeds
            for message in city.intake.messages(change, CONTRACTS[change.feed])
        ]
    )
    return city


IDS = [WEI, NEW, fifteen_digits(WEI), WEI[:-1] + "A", number("1975-08-15", 5)]
NAMES = ["张伟", "张 偉", "刘强", "张伟明"]


def state(city: Recorder, rng: random.Random, rows: list[tuple[str, dict[str, Any]]], step: int) -> None:
    """A department states something, of which `rows` may change later."""
    citizen_id, name = rng.choice(IDS), rng.choice(NAMES)
    match rng.choice(["resident", "resident", "death", "change", "student", "marriage", "birth"]):
        case "resident" if all(key != {"citizen_id": citizen_id} for _, key in rows):
            city.insert("police.resident", **resident(citizen_id, name, birth_date=days("1975-08-15"), sex="1"))
            rows.append(("police.resident", {"citizen_id": citizen_id}))
        case "death":
            city.insert(
                "health.death_certificate",
                **death(f"D{step}", citizen_id, name, city.now, birth_date=days("1975-08-15")),
            )
            rows.append(("health.death_certificate", {"cert_no": f"D{step}"}))
        case "change":
            old, new = rng.sample([WEI, NEW, IDS[4]], 2)
            reason = rng.choice(["WRONG_NUMBER", "DUPLICATE_NUMBER"])
            city.insert(
                "police.id_change", seq=step, old_id=old, new_id=new, reason=reason, effective_date=days(city.now)
            )
            rows.append(("police.id_change", {"seq": step}))
        case "student":
            city.insert("edu.student", **student(f"X{step}", citizen_id, name))
            rows.append(("edu.student", {"student_no": f"X{step}"}))
        case "marriage":
            city.insert("civil.marriage", **marriage(f"J{step}", citizen_id, name, city.now))
        case "birth":
            city.insert("health.birth_certificate", **birth(f"P{step}", name, "1975-08-15", birth_region="440106"))
        case _:
            pass


def tangled(seed: int) -> dict[str, list[Change]]:
    """A random history of a few people's rows; each row's changes in order."""
    rng, city = random.Random(seed), Recorder()
    rows: list[tuple[str, dict[str, Any]]] = []
    for step in range(40):
        city.now = f"2016-{1 + step // 4:02}-{1 + step % 4 * 7:02}"
        if rows and rng.random() < 0.4:
            feed, key = rng.choice(rows)
            if rng.random() < 0.3:
                city.delete(feed, key)
                rows.remove((feed, key))
            elif feed == "police.resident":
                city.update(feed, key, status=rng.choice(["DECEASED", "REGISTERED"]), status_date=days(city.now))
            elif feed in {"health.death_certificate", "edu.student"}:
                city.update(feed, key, citizen_id=rng.choice(IDS), name=rng.choice(NAMES))
            continue
        state(city, rng, rows, step)
    return city.streams


# ── C2 to C4 ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_c2_fifteen_digits_first_then_eighteen_is_one_person_found_by_both() -> None:
    city, old = Archive(), fifteen_digits(WEI)
    city.insert("police.resident", **resident(old, hukou_address="旧址"))
    assert city.record(WEI)["hukou_address"] == "旧址"
    assert city.record(WEI)["supersedes"] == []
    city.now = "2016-11-01"
    city.insert("police.resident", **resident(WEI))
    assert list(city.rows("base.person")) == [f"CITIZEN_ID|{WEI}"]
    assert city.record(WEI)["hukou_address"] == "天河路1号", "the row that has the number as it is speaks first"
    keys = {row["id_no"]: row["subject_key"] for row in city.rows("base.identifier").values()}
    assert keys == {old: f"CITIZEN_ID:{WEI}", WEI: f"CITIZEN_ID:{WEI}"}
    methods = [row["match_method"] for row in city.rows("base.person_event").values()]
    assert methods == ["P1"], "one registration, though two rows"
    city.check_rows()


def test_c2_an_upgrade_that_the_police_state_ends_the_old_number() -> None:
    city, old = Archive(), fifteen_digits(WEI)
    city.insert("police.resident", **resident(WEI))
    city.insert(
        "police.id_change", seq=1, old_id=old, new_id=WEI, reason="UPGRADE_15_TO_18", effective_date=days("2001-01-01")
    )
    found = city.rows("base.identifier")
    assert found[f"CITIZEN_ID|{old}"]["valid_to"] == found[f"CITIZEN_ID|{WEI}"]["valid_from"] == days("2001-01-01")
    assert city.record(WEI)["supersedes"] == []
    city.check_rows()


@pytest.mark.parametrize("first", ["police.resident", "edu.student"])
def test_c3_two_unrelated_names_are_a_conflict_and_nothing_is_overwritten(first: str) -> None:
    city = Recorder()
    city.insert("police.resident", **resident(WEI))
    city.insert("edu.student", **student("X1", WEI, "刘强"))
    order = sorted(city.streams, key=lambda feed: feed != first)
    alone = replay(city.streams["police.resident"])
    both = replay(change for feed in order for change in city.streams[feed])
    assert [item["kind"] for item in both.queue()] == ["NAME_CONFLICT"]
    item = both.queue()[0]
    assert {claim["feed"]: claim["value"] for claim in item["claims"]} == {
        "police.resident": "张伟",
        "edu.student": "刘强",
    }
    assert item["subject_keys"] == [f"CITIZEN_ID:{WEI}"]
    assert {**both.state(), "base.conflict": {}} == alone.state(), "the register's person, as if there were no conflict"


def test_c3_a_conflict_changes_nothing_downstream_and_goes_when_it_is_mended() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI))
    count = len(city.history)
    city.insert("edu.student", **student("X1", WEI, "刘强"))
    assert [change.feed for change in city.history[count:]] == ["base.conflict"]
    city.update("edu.student", {"student_no": "X1"}, citizen_id=number("1990-01-01"))
    assert not city.queue()
    assert city.record(number("1990-01-01"))["name"] == "刘强"
    city.check_rows()


def test_c3_an_officer_says_whose_name_the_number_carries_and_may_take_it_back() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI))
    city.insert("edu.student", **student("X1", WEI, "刘强"))
    before = city.state()
    item = city.queue()[0]["conflict_id"]
    assert [claim["feed"] for claim in city.queue()[0]["claims"]] == ["edu.student", "police.resident"]
    city.decide(item, ACCEPT, claims=[0])
    assert (city.record(WEI)["name"], city.record(WEI)["school_code"]) == ("张伟", "S1"), "the pupil is that person"
    assert [row["state"] for row in city.queue()] == ["RESOLVED"]
    city.decide(item, PREFER, claims=[1])
    assert (city.record(WEI)["name"], city.record(WEI)["school_code"]) == ("刘强", "S1"), (
        "the number is the pupil's alone"
    )
    city.decide(item, UNDO)
    assert city.state() == before
    city.decide(item, CORRECT, claims=[0], column="name", value="张伟")
    city.update("edu.student", {"student_no": "X1"}, school_code="S2")
    assert [(row["state"], row["decision"]) for row in city.queue()] == [("OPEN", "LAPSED correct")]
    city.check_rows()


def test_c5_an_officer_leaves_out_a_death_that_was_not_this_persons() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI))
    city.insert("health.death_certificate", **death("D1", WEI, "张伟", "2016-10-01"))
    assert (city.record(WEI)["life_status"], city.kinds()) == ("UNKNOWN", ["DEATH_UNCONFIRMED"])
    city.decide(city.queue()[0]["conflict_id"], LEAVE_OUT, claims=[0])
    assert (city.record(WEI)["life_status"], city.queue()[0]["state"]) == ("ALIVE", "RESOLVED")
    city.update("police.resident", {"citizen_id": WEI}, status="DECEASED", status_date=days("2016-10-02"))
    assert city.record(WEI)["life_status"] == "DECEASED", "the police say so too: nothing is unconfirmed any more"
    assert city.queue() == []


def test_c3_a_death_under_another_name_stops_nobody() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI, status="DECEASED", status_date=days("2016-10-05")))
    city.insert("health.death_certificate", **death("D1", WEI, "刘强", "2016-10-01"))
    assert city.record(WEI)["life_status"] == "UNKNOWN"
    assert city.kinds() == ["DEATH_UNCONFIRMED", "NAME_CONFLICT"]
    assert ("DEATH", "STOP") not in city.lines(WEI)


def test_c4_a_changed_number_rekeys_the_person() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI))
    city.insert("edu.student", **student("X1", WEI, "张伟"))
    city.insert("civil.marriage", **marriage("J1", WEI, "张伟", "2000-05-01"))
    count = len(city.history)
    city.insert(
        "police.id_change", seq=1, old_id=WEI, new_id=NEW, reason="WRONG_NUMBER", effective_date=days("2016-10-30")
    )
    mine = [change for change in city.history[count:] if change.feed == "base.person"]
    gone = [change.row_id for change in mine if change.after is None]
    assert gone == [f"CITIZEN_ID|{WEI}"], "a delete of the old key, which goes out with its tombstone"
    assert mine[-1].row_id == f"CITIZEN_ID|{NEW}"
    record = city.record(NEW)
    assert record["supersedes"] == [WEI]
    assert (record["name"], record["school_code"], record["marital_status"]) == ("张伟", "S1", "MARRIED")
    assert not city.lines(WEI)
    assert [kind for kind, _ in city.lines(NEW)] == ["MARRIAGE", "ID_CHANGED", "HUKOU", "SCHOOL"]
    identifier = city.rows("base.identifier")[f"CITIZEN_ID|{WEI}"]
    assert (identifier["subject_key"], identifier["valid_to"]) == (f"CITIZEN_ID:{NEW}", days("2016-10-30"))
    city.delete("police.resident", {"citizen_id": WEI})
    city.insert("police.resident", **resident(NEW, hukou_address="新址", birth_date=days("1975-08-15")))
    assert city.record(NEW)["hukou_address"] == "新址"
    assert city.record(NEW)["supersedes"] == [WEI]
    city.insert("edu.student", **student("X2", WEI, "张伟", school_code="S2"))
    assert city.record(NEW)["school_code"] == "S2", "rows that still come under the old number reach the person"
    city.delete("police.id_change", {"seq": 1})
    assert city.record(NEW)["supersedes"] == []
    assert city.record(WEI)["school_code"] == "S2"
    city.check_rows()


def test_c4_a_wrong_number_that_never_was_valid_leads_to_its_person() -> None:
    city, wrong = Archive(), WEI[:-1] + ("0" if WEI[-1] != "0" else "1")
    city.insert("edu.student", **student("X1", wrong, "张伟"))
    assert city.kinds() == ["CITIZEN_ID_INVALID"]
    city.insert("police.resident", **resident(WEI))
    city.insert(
        "police.id_change", seq=1, old_id=wrong, new_id=WEI, reason="WRONG_NUMBER", effective_date=days("2016-10-30")
    )
    assert not city.queue()
    assert city.record(WEI)["school_code"] == "S1"
    assert city.rows("base.identifier")[f"CITIZEN_ID|{wrong}"]["subject_key"] == f"CITIZEN_ID:{WEI}"
    city.check_rows()


def test_c4_of_two_people_with_one_number_each_keeps_what_is_theirs() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI))
    city.insert("edu.student", **student("X1", WEI, "刘强"))
    city.insert("police.resident", **resident(NEW, "刘强"))
    city.insert(
        "police.id_change", seq=1, old_id=WEI, new_id=NEW, reason="DUPLICATE_NUMBER", effective_date=days("2016-10-30")
    )
    assert not city.queue()
    assert (city.record(WEI)["name"], city.record(WEI)["school_code"]) == ("张伟", None)
    assert (city.record(NEW)["name"], city.record(NEW)["school_code"]) == ("刘强", "S1")
    assert city.record(NEW)["supersedes"] == [], "the old number is still somebody's"
    city.check_rows()


def test_c4_a_ring_of_changes_settles_and_a_fork_is_reported() -> None:
    third, city = number("1975-08-15", 7), Archive()
    city.insert("police.resident", **resident(WEI))
    for seq, (old, new) in enumerate([(WEI, NEW), (NEW, third), (third, WEI)], start=1):
        city.insert(
            "police.id_change", seq=seq, old_id=old, new_id=new, reason="BIRTH_DATE", effective_date=days("2016-10-30")
        )
    assert list(city.rows("base.person")) == [f"CITIZEN_ID|{WEI}"]
    assert city.record(WEI)["supersedes"] == sorted([NEW, third])
    city.insert(
        "police.id_change", seq=9, old_id=third, new_id=NEW, reason="BIRTH_DATE", effective_date=days("2016-10-31")
    )
    assert "ID_CHANGE_CONFLICT" in city.kinds()
    city.check_rows()


# ── C5 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def dead_wei() -> Archive:
    city = Archive("2016-10-02")
    city.insert("police.resident", **resident(WEI))
    city.insert("health.death_certificate", **death("D1", WEI, "张伟", "2016-10-01"))
    return city


def test_c5_a_death_counts_when_police_and_health_agree() -> None:
    city = dead_wei()
    assert city.record(WEI)["life_status"] == "UNKNOWN"
    assert city.kinds() == ["DEATH_UNCONFIRMED"]
    assert city.lines(WEI) == [("HUKOU", "NONE")]
    city.now = "2016-10-06"
    city.update("police.resident", {"citizen_id": WEI}, status="DECEASED", status_date=days("2016-10-05"))
    assert (city.record(WEI)["life_status"], city.record(WEI)["death_date"]) == ("DECEASED", days("2016-10-01"))
    assert city.lines(WEI)[-1] == ("HUKOU", "NONE")
    assert ("DEATH", "STOP") in city.lines(WEI)
    assert not city.queue()
    city.check_rows()


def test_c5_where_the_register_does_not_keep_the_person_a_certificate_is_enough() -> None:
    city = Archive()
    city.insert("edu.student", **student("X1", WEI, "张伟"))
    city.insert("health.death_certificate", **death("D1", WEI, "张伟", "2016-10-01"))
    assert city.record(WEI)["life_status"] == "DECEASED"


def test_c5_a_wrong_death_of_somebody_otherwise_unknown_is_restored_too() -> None:
    city = Archive()
    city.insert("health.death_certificate", **death("D1", WEI, "张伟", "2016-10-01"))
    city.now = "2016-11-20"
    city.delete("health.death_certificate", {"cert_no": "D1"})
    assert not city.rows("base.person")
    assert [effect for _, effect in city.lines(WEI)] == ["STOP", "RESTORE"]
    city.check_rows()


@pytest.mark.parametrize("retraction", ["health", "police"])
def test_c5_a_wrong_death_retracted_restores(retraction: str) -> None:
    city = dead_wei()
    city.now = "2016-10-06"
    city.update("police.resident", {"citizen_id": WEI}, status="DECEASED", status_date=days("2016-10-05"))
    stop = next(row for row in city.rows("base.person_event").values() if row["effect"] == "STOP")
    city.now = "2016-10-20"
    if retraction == "health":
        city.delete("health.death_certificate", {"cert_no": "D1"})
    else:
        city.update("police.resident", {"citizen_id": WEI}, status="REGISTERED", status_date=None)
    restore = next(row for row in city.rows("base.person_event").values() if row["effect"] == "RESTORE")
    assert restore["corrects"] == stop["event_id"]
    assert restore["occurred_on"] == days("2016-10-20")
    assert city.rows("base.person_event")[stop["event_id"]] == stop, "the stop stays as it was told"
    assert city.record(WEI)["life_status"] == "UNKNOWN"
    assert city.kinds() == ["DEATH_UNCONFIRMED"]
    city.now = "2016-10-21"
    if retraction == "health":
        city.update("police.resident", {"citizen_id": WEI}, status="REGISTERED", status_date=None)
    else:
        city.delete("health.death_certificate", {"cert_no": "D1"})
    assert city.record(WEI)["life_status"] == "ALIVE"
    assert city.record(WEI)["death_date"] is None
    assert not city.queue()
    city.now = "2016-12-01"
    city.insert("health.death_certificate", **death("D2", WEI, "张伟", "2016-11-30"))
    city.update("police.resident", {"citizen_id": WEI}, status="DECEASED", status_date=days("2016-12-01"))
    effects = [effect for _, effect in city.lines(WEI) if effect != "NONE"]
    assert sorted(effects) == ["RESTORE", "STOP", "STOP"]
    assert len(city.rows("base.person_event")) == 4
    city.check_rows()


def test_c5_impossible_deaths_have_names_and_stop_nobody() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI))
    city.insert("health.death_certificate", **death("D1", WEI, "张伟", "1975-08-14"))
    city.insert("health.death_certificate", **death("D2", WEI, "张伟", "2017-01-01"))
    assert city.kinds() == ["DEATH_BEFORE_BIRTH", "DEATH_IN_FUTURE"]
    assert city.record(WEI)["life_status"] == "ALIVE"
    city.check_rows()


def test_c5_what_only_the_living_do_is_doubted_after_a_death() -> None:
    city = dead_wei()
    city.now = "2016-12-06"
    city.update("police.resident", {"citizen_id": WEI}, status="DECEASED", status_date=days("2016-10-05"))
    for period in ("201610", "201611"):
        city.insert("hrss.pension_payment", citizen_id=WEI, period=period, status="PAID", paid_at=micros("2016-11-20"))
    assert city.kinds() == ["AFTER_DEATH"], "the month of the death is paid"
    city.check_rows()


# ── C6, C7 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_c6_the_police_address_beats_civils_and_each_field_says_whence_it_came() -> None:
    city = Archive("2016-01-01")
    declared = city.insert("civil.check_member", case_no="C1", citizen_id=WEI, name="张伟", hukou_address="自报地址")
    assert city.record(WEI)["hukou_address"] == "自报地址"
    assert told_apart(city)["hukou_address"] == ("civil.check_member", str(declared.position), micros("2016-01-01"))
    city.now = "2015-01-01"
    registered = city.insert("police.resident", **resident(WEI))
    city.now = "2016-02-01"
    city.update("police.resident", {"citizen_id": WEI}, mobile="10012345678")
    assert city.record(WEI)["hukou_address"] == "天河路1号"
    found = told_apart(city)
    assert found["hukou_address"] == ("police.resident", str(registered.position), micros("2015-01-01"))
    moved = city.update("police.resident", {"citizen_id": WEI}, hukou_address="天河路2号")
    assert told_apart(city)["hukou_address"] == ("police.resident", str(moved.position), micros("2016-02-01"))
    assert told_apart(city)["life_status"] == found["life_status"] == found["name"]
    filled = {name for name, value in city.record(WEI).items() if value and name in FIELDS}
    assert told_apart(city).keys() == filled, "each field says so"
    assert told_apart(city)["name"] == found["name"], "the name came with the registration, not with the move"
    city.check_rows()


def test_c7_as_of_equals_a_batch_rebuild() -> None:
    for seed in range(SEED, SEED + 5):
        changes = [
            change
            for stream in tangled(seed).values()
            for change in stream
            if change.feed != "health.birth_certificate"
        ]
        live = replay(changes)
        for moment in ("2016-02-20", "2016-05-10", "2016-08-01"):
            clock = micros(moment)
            rebuilt = replay(change for change in changes if happened(change) <= clock)
            for key in (WEI, NEW, number("1975-08-15", 5)):
                rows = as_of(live.subject, f"person:{key}", clock).rows.get("base.person", [])
                assert rows == [row for row in rebuilt.rows("base.person").values() if row["id_no"] == key]


def past(city: Archive, key: str, moment: str) -> list[Row]:
    return as_of(city.subject, f"person:{key}", micros(moment)).rows.get("base.person", [])


def happened(change: Change) -> int:
    entry = next(entry for entry in FLOW.inputs if entry.feed == change.feed)
    dated = InputReading(entry, CONTRACTS[change.feed]).dated(change.after or change.before or {})
    return change.committed_at_ms * 1_000 if dated is None else dated


def test_c7_a_past_view_knows_the_address_and_number_of_its_time() -> None:
    city = Archive("2016-01-01")
    city.insert("police.resident", **resident(WEI))
    city.now = "2016-03-01"
    city.update("police.resident", {"citizen_id": WEI}, hukou_address="天河路2号")
    city.now = "2016-05-01"
    city.insert(
        "police.id_change", seq=1, old_id=WEI, new_id=NEW, reason="WRONG_NUMBER", effective_date=days("2016-04-01")
    )
    views = {
        (key, moment): [row["hukou_address"] for row in past(city, key, moment)]
        for key in (WEI, NEW)
        for moment in ("2016-02-01", "2016-03-15", "2016-04-02")
    }
    assert views == {
        (WEI, "2016-02-01"): ["天河路1号"],
        (WEI, "2016-03-15"): ["天河路2号"],
        (WEI, "2016-04-02"): [],
        (NEW, "2016-02-01"): [],
        (NEW, "2016-03-15"): [],
        (NEW, "2016-04-02"): ["天河路2号"],
    }


# ── the ladder ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_p2_a_former_name_and_a_variant_spelling_are_the_person() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI, "陈峯", former_name="陈大伟"))
    city.insert("edu.student", **student("X1", WEI, "陈大伟"))
    city.insert("edu.student", **student("X2", WEI, "陳峰"))
    assert not city.queue()
    methods = sorted(row["match_method"] for row in city.rows("base.person_event").values())
    assert methods == ["P0", "P2", "P2"]
    assert city.record(WEI)["name"] == "陈峯"
    assert city.record(WEI)["former_names"] == ["陈大伟"]
    city.check_rows()


def test_p4_a_birth_finds_its_child_by_a_parents_household_and_an_unnumbered_death_stops_nobody() -> None:
    city = Archive()
    city.insert("health.birth_certificate", **birth("P1", "张小明", "2008-05-05"))
    assert city.kinds() == ["NO_MATCH"]
    city.insert("police.resident", **resident(CHILD, "张小明"))
    assert city.kinds() == ["CANDIDATE"]
    city.insert("police.resident", **resident(FANG, "李芳", household_no="H1"))
    assert not city.queue()
    line = next(row for row in city.rows("base.person_event").values() if row["kind"] == "BIRTH")
    assert (line["id_no"], line["match_method"], line["match_score"]) == (CHILD, "P4", 80)
    city.insert(
        "health.death_certificate", **death("D1", None, "张小明", "2016-10-01", birth_date=days("2008-05-05"), sex="1")
    )
    assert city.kinds() == ["CANDIDATE"], "name and birth date alone"
    city.insert("police.resident", **resident(number("2008-05-05", 3), "张小明", household_no="H9"))
    assert city.kinds() == ["AMBIGUOUS", "AMBIGUOUS"], "the birth too: whatever else agrees, the name is not unique"
    item = city.queue()[0]
    assert (item["detail"], item["subject_keys"], item["claims"][0]["value"]) == ("2 candidates", [], None)
    assert city.record(CHILD)["life_status"] == "ALIVE"
    city.check_rows()


def test_p7_what_cannot_be_matched_is_named() -> None:
    city = Archive()
    city.insert("civil.cremation", cremation_no="H1", citizen_id=None, name="某", cremated_date=days("2016-10-04"))
    city.insert("edu.student", **student("X1", "000000000000000000", "某"))
    city.insert("edu.student", **student("X2", "440199960229997", "某"))
    city.insert("disabled.card", card_no=f"{WEI}44", citizen_id=WEI, name="张伟", kind="3", level="4", status="VALID")
    city.insert("civil.marriage", **marriage("J1", "12345", "某", "2016-10-01"))
    assert city.kinds() == ["AMBIGUOUS_CENTURY", "CARD_INVALID", "CITIZEN_ID_INVALID", "NO_MATCH", "PARTNER_ID_INVALID"]
    ambiguous = next(item for item in city.queue() if item["kind"] == "AMBIGUOUS_CENTURY")
    assert ambiguous["subject_keys"] == ["CITIZEN_ID:44019918960229997X", "CITIZEN_ID:440199199602299979"]
    assert list(city.rows("base.person")) == [f"CITIZEN_ID|{FANG}"]
    city.check_rows()


def test_an_uncertain_century_is_settled_by_the_police() -> None:
    city = Archive()
    city.insert("edu.student", **student("X1", "440199960229997", "某"))
    city.insert(
        "police.id_change",
        seq=1,
        old_id="440199960229997",
        new_id="440199199602299979",
        reason="UPGRADE_15_TO_18",
        effective_date=days("2016-10-01"),
    )
    assert not city.queue()
    assert city.record("440199199602299979")["school_code"] == "S1"
    city.check_rows()


def test_what_the_register_says_against_the_number_is_doubted() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI, sex="2", birth_date=days("1975-08-16")))
    assert city.kinds() == ["BIRTH_DATE_MISMATCH", "SEX_MISMATCH"]
    assert city.record(WEI)["birth_date"] == days("1975-08-16"), "the register's word stands until somebody decides"
    city.check_rows()


# ── fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def month(period: str, employer: str) -> dict[str, Any]:
    day = f"{period[:4]}-{period[4:]}-15"
    return {
        "citizen_id": WEI,
        "insurance_kind": "PENSION",
        "period": period,
        "employer_uscc": employer,
        "paid_at": micros(day),
    }


def test_fields_follow_their_departments() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI))
    city.insert(
        "police.residence_permit",
        permit_no="J1",
        citizen_id=WEI,
        name="张伟",
        residence_region="440103",
        valid_from=days("2016-01-01"),
        valid_to=days("2016-12-31"),
        status="VALID",
    )
    city.insert(
        "disabled.card",
        card_no=f"{WEI}42",
        citizen_id=WEI,
        name="张伟",
        kind="4",
        level="2",
        issue_date=days("2014-01-01"),
        valid_to=days("2023-12-31"),
        status="VALID",
    )
    city.insert("hrss.insurance_month", **month("201608", "A"))
    first = city.insert("hrss.insurance_month", **month("201609", "B"))
    count = len(city.history)
    city.insert("hrss.insurance_month", **month("201610", "B"))
    city.insert("hrss.insurance_month", **{**month("201610", "C"), "insurance_kind": "MEDICAL"})
    assert len(city.history) == count, "another month with the same employer is no news"
    record = city.record(WEI)
    assert (record["residence_region"], record["disability"], record["employer"]) == ("440103", "4-2", "B")
    assert told_apart(city)["employer"][1] == str(first.position)
    city.insert("hrss.unemployment", registration_id="U1", citizen_id=WEI, registered_date=days("2016-11-01"))
    assert city.record(WEI)["employer"] is None
    city.insert("hrss.insurance_month", **month("201612", "D"))
    assert city.record(WEI)["employer"] == "D", "insured again, whatever the registration says"
    assert {"RESIDENCE_PERMIT|J1", f"DISABILITY_CARD|{WEI}42"} <= city.rows("base.identifier").keys()
    city.check_rows()


def test_marital_status_is_the_registrations_in_order() -> None:
    city = Archive()
    city.insert("civil.marriage", **marriage("J3", WEI, "张伟", "2010-01-01", "REISSUE"))
    assert city.record(WEI)["marital_status"] is None
    city.insert("civil.marriage", **marriage("J2", WEI, "张伟", "2005-01-01", "DIVORCE"))
    city.insert("civil.marriage", **marriage("J1", WEI, "张伟", "2000-01-01"))
    assert city.record(WEI)["marital_status"] == city.record(FANG)["marital_status"] == "DIVORCED"
    city.insert("civil.marriage", **marriage("J4", WEI, "张伟", "2012-01-01"))
    assert city.record(WEI)["marital_status"] == "MARRIED"
    city.insert("civil.marriage", **marriage("J5", WEI, "张伟", "2013-01-01", "ANNULMENT"))
    assert city.record(WEI)["marital_status"] == "DIVORCED"
    city.check_rows()


def test_foreigners_and_residents_of_hong_kong_have_documents_of_their_own() -> None:
    city = Archive()
    city.insert(
        "police.foreigner",
        nationality="USA",
        passport_no="a1234567",
        name_latin="JANE DOE",
        name_cn="简",
        sex="2",
        birth_date=days("1980-01-01"),
        residence_region="440106",
    )
    assert city.record("USA-A1234567", "PASSPORT")["former_names"] == []
    assert city.record("USA-A1234567", "PASSPORT")["residence_region"] == "440106"
    city.insert("edu.student", **student("X1", "810000199001010011", "陈大文"))
    record = city.record("810000199001010011", "HMT_PERMIT")
    assert (record["name"], record["birth_date"]) == ("陈大文", None), (
        "no citizen's checksum, and nothing read out of it"
    )
    city.check_rows()


def test_a_cancelled_registration_is_no_deletion_and_a_deleted_row_is_no_cancellation() -> None:
    city = Archive()
    city.insert("police.resident", **resident(WEI))
    city.update("police.resident", {"citizen_id": WEI}, status="MOVED_OUT", status_date=days("2016-10-30"))
    assert (city.record(WEI)["life_status"], city.record(WEI)["name"]) == ("UNKNOWN", "张伟")
    assert [kind for kind, _ in city.lines(WEI)] == ["MOVED_OUT", "HUKOU"]
    city.delete("police.resident", {"citizen_id": WEI})
    assert not city.rows("base.person")
    assert not city.rows("base.person_event")
    assert not city.rows("base.identifier")
    city.check_rows()
