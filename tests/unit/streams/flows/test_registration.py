from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ops.city.numbers import Numbers
from schemas.change import Change
from streams.flows.registration import FLOW
from streams.flows.registration.rules import TOPICS
from streams.operators.flow import Row
from tests.stage.rehearsal import Rehearsal, city_contracts, days, interleavings, micros

CONTRACTS = city_contracts()
FOOD, CHEMICALS = "H6201", "F5106"
REP = Numbers().citizen_id(Random(1), date(1970, 1, 1), "1")


@pytest.fixture
def city() -> Rehearsal:
    return Rehearsal(FLOW, CONTRACTS, now="2016-10-24T10:00:00+08:00")


def found(city: Rehearsal, ent_id: str = "E1", **columns: Any) -> Change:
    row: dict[str, Any] = {
        "name": "广州粤达餐饮有限公司",
        "kind": "ENTERPRISE",
        "industry": "H62",
        "scope_text": "餐饮服务、食品销售",
        "legal_rep_name": "陈大文",
        "legal_rep_id_type": "CITIZEN_ID",
        "legal_rep_id": REP,
        "registry": "广州市工商行政管理局天河分局",
        "reg_region": "440106",
        "address": "广州市天河区体育东路1号101房",
        "established": days("2016-10-24"),
        "status": "ACTIVE",
    }
    return city.insert("aic.enterprise", ent_id=ent_id, **(row | columns))


def item(city: Rehearsal, code: str, ent_id: str = "E1", permit_kind: str = "AFTER") -> Change:
    return city.insert("aic.scope_item", ent_id=ent_id, item_code=code, permit_kind=permit_kind)


def act(city: Rehearsal, actor: str, action: str, at: str, code: str = FOOD, to: str = "", about: str = "") -> None:
    feed, agency = f"{actor}.registration_claim", about or actor
    columns = {"action": action, "acted_at": micros(at), "reroute_to": to or None, "reason": "理由"}
    known = {"ent_id": "E1", "item_code": code, "agency": agency}
    if f"E1|{code}|{agency}" in city._tables.get(feed, {}):
        city.update(feed, known, **columns)
    else:
        city.insert(feed, **known, **columns)


def states(city: Rehearsal) -> dict[str, str]:
    return {key.partition("|")[2]: row["state"] for key, row in city.rows("registration.claim").items()}


def kinds(city: Rehearsal) -> list[str]:
    return [row["kind"] for row in city.queue()]


def on_board(city: Rehearsal) -> dict[str, Row]:
    for _ in range(3):
        city.tick(city.folding._clock(FLOW).at + 1)
    return city.rows("registration.topic")


# ── H1 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h1_food_and_chemicals_in_tianhe_reach_exactly_the_two_offices_of_tianhe(city: Rehearsal) -> None:
    found(city)
    item(city, FOOD)
    item(city, CHEMICALS)
    pushes = city.rows("registration.push")
    assert sorted((row["item_code"], row["office"]) for row in pushes.values()) == [
        (CHEMICALS, "work_safety_440106"),
        (FOOD, "fda_440106"),
    ]
    assert set(states(city).values()) == {"PUSHED"}
    assert not city.rows("registration.claim_pool")
    assert Counter(change.row_id for change in city.changes_of("registration.push")).most_common(1)[0][1] == 1
    city.check_rows()


def test_h1_an_item_reaches_every_department_that_it_requires_once(city: Rehearsal) -> None:
    item(city, "H6205")
    found(city)
    assert sorted(row["agency"] for row in city.rows("registration.push").values()) == ["fda", "health"]
    city.update("aic.enterprise", {"ent_id": "E1"}, name="广州粤达饮食有限公司")
    assert len(city.rows("registration.push")) == 2
    assert {row["pushed_at"] for row in city.rows("registration.push").values()} == {micros(city.now)}


def test_h1_an_item_without_a_clear_owner_waits_in_the_claim_pool_until_the_coordinator_names_one(
    city: Rehearsal,
) -> None:
    found(city)
    item(city, "H6206")
    assert city.rows("registration.claim_pool")["E1|H6206|none"]["reason"] == "NO_OWNER"
    assert not city.rows("registration.push")
    act(city, "aic", "REROUTE", "2016-10-25T09:00:00+08:00", "H6206", to="fda", about="none")
    assert not city.rows("registration.claim_pool")
    assert list(city.rows("registration.push")) == ["E1|H6206|fda|440106"]
    city.check_rows()


def test_h1_general_items_and_those_permitted_before_are_not_pushed(city: Rehearsal) -> None:
    found(city)
    item(city, FOOD, permit_kind="GENERAL")
    item(city, CHEMICALS, permit_kind="BEFORE")
    assert not city.rows("registration.push")
    assert not city.rows("registration.claim_pool")
    assert len(city.rows("registration.disclosure")["E1"]["items"]) == 2


def test_h1_a_department_of_the_city_is_told_once_wherever_the_entity_moves(city: Rehearsal) -> None:
    found(city)
    item(city, "H6204")
    act(city, "fda", "CLAIM", "2016-10-24T12:00:00+08:00", "H6204")
    city.now = "2016-10-26T10:00:00+08:00"
    city.update("aic.enterprise", {"ent_id": "E1"}, reg_region="440104")
    assert states(city) == {"H6204|fda|440100": "CLAIMED"}


def test_h1_an_entity_that_moves_leaves_the_old_office_and_reaches_the_new_one(city: Rehearsal) -> None:
    found(city)
    item(city, FOOD)
    act(city, "fda", "CLAIM", "2016-10-24T12:00:00+08:00")
    city.now = "2016-10-26T10:00:00+08:00"
    city.update("aic.enterprise", {"ent_id": "E1"}, reg_region="440104")
    assert states(city) == {"H6201|fda|440106": "RETRACTED", "H6201|fda|440104": "PUSHED"}
    assert list(city.rows("registration.push")) == ["E1|H6201|fda|440104"]
    act(city, "fda", "CLAIM", "2016-10-27T12:00:00+08:00")
    assert states(city) == {"H6201|fda|440106": "RETRACTED", "H6201|fda|440104": "CLAIMED"}
    city.check_rows()


@pytest.mark.parametrize(
    ("code", "kind", "offices"), [("999999", "REGION_UNKNOWN", []), ("440116", "REGION_ABOLISHED", ["fda_440112"])]
)
def test_h1_a_wrong_district_is_named(city: Rehearsal, code: str, kind: str, offices: list[str]) -> None:
    found(city, reg_region=code)
    item(city, FOOD)
    assert kinds(city) == [kind]
    assert [row["office"] for row in city.rows("registration.push").values()] == offices


# ── H2 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h2_unclaimed_after_five_working_days_escalates_by_event_time() -> None:
    city = Rehearsal(FLOW, CONTRACTS, now="2016-09-30T10:00:00+08:00")
    found(city)
    item(city, FOOD)
    city.tick("2016-10-13T00:59:59+08:00")  # 国庆节 to 7 October; the 8th and 9th are make-up days
    assert states(city) == {"H6201|fda|440106": "PUSHED"}
    city.tick("2016-10-13T01:00:00+08:00")
    assert states(city) == {"H6201|fda|440106": "ESCALATED"}
    assert city.rows("registration.push"), "the department is still asked"
    city.tick("2016-10-14")
    assert [change.after["state"] for change in city.changes_of("registration.claim") if change.after] == [
        "PUSHED",
        "ESCALATED",
    ]
    act(city, "fda", "CLAIM", "2016-10-14T12:00:00+08:00")
    claim = city.rows("registration.claim")["E1|H6201|fda|440106"]
    assert claim["state"] == "CLAIMED"
    city.check_rows()


def test_h2_a_claim_made_in_time_that_comes_late_takes_the_escalation_back() -> None:
    city = Rehearsal(FLOW, CONTRACTS, now="2016-10-24T10:00:00+08:00")
    found(city)
    item(city, FOOD)
    city.tick("2016-11-05")
    assert states(city) == {"H6201|fda|440106": "ESCALATED"}
    act(city, "fda", "CLAIM", "2016-10-28T12:00:00+08:00")
    claim = city.rows("registration.claim")["E1|H6201|fda|440106"]
    assert [step["state"] for step in claim["steps"]] == ["PUSHED", "CLAIMED"]


def test_h2_a_corrected_act_replaces_what_it_corrects(city: Rehearsal) -> None:
    found(city)
    item(city, FOOD)
    act(city, "fda", "REFUSE", "2016-10-25T12:00:00+08:00")
    act(city, "fda", "CLAIM", "2016-10-25T11:00:00+08:00")
    assert states(city) == {"H6201|fda|440106": "CLAIMED"}
    assert not city.rows("registration.claim_pool")
    city.delete("fda.registration_claim", {"ent_id": "E1", "item_code": FOOD, "agency": "fda"})
    assert states(city) == {"H6201|fda|440106": "PUSHED"}


def test_h2_a_refused_item_goes_to_the_pool(city: Rehearsal) -> None:
    found(city)
    item(city, FOOD)
    act(city, "fda", "REFUSE", "2016-10-25T09:00:00+08:00")
    assert states(city) == {"H6201|fda|440106": "REFUSED"}
    assert city.rows("registration.claim_pool")["E1|H6201|fda"]["reason"] == "REFUSED"
    assert not city.rows("registration.push")
    act(city, "aic", "REROUTE", "2016-10-26T09:00:00+08:00", to="health", about="fda")
    assert states(city) == {"H6201|fda|440106": "REFUSED", "H6201|health|440106": "PUSHED"}
    act(city, "health", "CLAIM", "2016-10-26T12:00:00+08:00")
    assert states(city)["H6201|health|440106"] == "CLAIMED"
    assert not city.rows("registration.claim_pool")
    assert not city.queue()


def test_h2_after_two_reroutes_only_the_coordinator_decides(city: Rehearsal) -> None:
    found(city)
    item(city, FOOD)
    act(city, "fda", "REROUTE", "2016-10-24T12:00:00+08:00", to="health")
    assert states(city) == {"H6201|fda|440106": "REROUTED", "H6201|health|440106": "PUSHED"}
    act(city, "health", "REROUTE", "2016-10-25T12:00:00+08:00", to="work_safety")
    pool = city.rows("registration.claim_pool")["E1|H6201|fda"]
    assert (pool["reason"], pool["proposed_agency"], pool["reroutes"]) == ("COORDINATOR_ONLY", "work_safety", 2)
    act(city, "fda", "CLAIM", "2016-10-26T12:00:00+08:00")
    assert kinds(city) == ["ONLY_COORDINATOR_DECIDES"]
    assert "CLAIMED" not in states(city).values()
    act(city, "aic", "REROUTE", "2016-10-27T12:00:00+08:00", to="work_safety", about="fda")
    assert states(city)["H6201|work_safety|440106"] == "PUSHED"
    assert city.rows("registration.claim")["E1|H6201|work_safety|440106"]["is_assigned"]
    act(city, "work_safety", "REROUTE", "2016-10-28T12:00:00+08:00", to="fda")
    assert city.rows("registration.claim_pool")["E1|H6201|fda"]["reason"] == "COORDINATOR_ONLY"
    city.check_rows()


def test_h2_a_claim_of_nothing_and_a_claim_for_another_are_named(city: Rehearsal) -> None:
    found(city)
    act(city, "health", "CLAIM", "2016-10-24T12:00:00+08:00")
    act(city, "fda", "CLAIM", "2016-10-24T12:00:00+08:00", about="health")
    assert sorted(kinds(city)) == ["CLAIM_OF_ANOTHER", "CLAIM_WITHOUT_PUSH"]
    told = [(row["agency"], row["claimed_for"], row["reason"]) for row in city.rows("registration.refusal").values()]
    assert sorted(told) == [("fda", "health", "CLAIM_OF_ANOTHER"), ("health", "health", "CLAIM_WITHOUT_PUSH")]
    city.check_rows()


def test_h2_an_item_given_up_is_no_longer_asked_for_and_its_claim_is_history(city: Rehearsal) -> None:
    found(city)
    item(city, FOOD)
    city.delete("aic.scope_item", {"ent_id": "E1", "item_code": FOOD})
    assert not city.rows("registration.push")
    assert states(city) == {"H6201|fda|440106": "RETRACTED"}


# ── H3 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def licence(city: Rehearsal, number: str, id_type: str = "USCC", licence_no: str = "JY1", **columns: Any) -> Change:
    row: dict[str, Any] = {
        "licence_kind": "FOOD_SERVICE",
        "licence_no": licence_no,
        "holder_id_type": id_type,
        "holder_id": number,
        "holder_name": "广州粤达餐饮有限公司",
        "uscc": number if id_type == "USCC" else None,
        "item_code": FOOD,
        "region": "440106",
        "issuer": "广州市天河区食品药品监督管理局",
        "issue_date": days("2016-10-28"),
        "valid_to": days("2021-10-27"),
        "status": "VALID",
    }
    return city.insert("fda.licence", **(row | columns))


def penalty(city: Rehearsal, number: str, decision_no: str = "P1", **columns: Any) -> Change:
    row: dict[str, Any] = {
        "decision_no": decision_no,
        "subject_kind": "ENTERPRISE",
        "subject_id": number,
        "subject_name": "广州粤达餐饮有限公司",
        "cause": "超范围经营",
        "basis": "《中华人民共和国食品安全法》",
        "result": "罚款",
        "region": "440106",
        "decided_date": days("2016-10-25"),
        "publish_until": days("2017-10-25"),
    }
    return city.insert("fda.penalty", **(row | columns))


@pytest.fixture
def uscc() -> str:
    numbers = Numbers()
    return numbers.uscc("91", numbers.org_code(True))


def test_h3_a_permit_issued_later_joins_the_page_by_any_number_of_the_entity(city: Rehearsal, uscc: str) -> None:
    registration_no = Numbers().registration_no()
    found(city, uscc=uscc, registration_no=registration_no)
    licence(city, uscc)
    licence(city, uscc[8:17], "ORG_CODE", "JY2")
    licence(city, registration_no, "REGISTRATION_NO", "JY3")
    penalty(city, uscc)
    city.insert("aic.abnormal_listing", ent_id="E1", listed_date=days("2016-10-26"), cause="UNREACHABLE")
    city.insert("aic.enterprise_change", ent_id="E1", seq=1, item="NAME", changed_date=days("2016-10-26"))
    page = city.rows("registration.disclosure")["E1"]
    assert [permit["licence_no"] for permit in page["permits"]] == ["JY1", "JY2", "JY3"]
    assert [listing["cause"] for listing in page["credit"]] == ["UNREACHABLE"]
    assert [violation["decision_no"] for violation in page["violations"]] == ["P1"]
    assert [change["item"] for change in page["changes"]] == ["NAME"]
    city.check_rows()


def test_h3_a_permit_that_came_before_the_entity_joins_when_it_is_there(city: Rehearsal, uscc: str) -> None:
    licence(city, uscc)
    assert not city.queue()
    found(city, uscc=uscc)
    assert city.rows("registration.disclosure")["E1"]["permits"]


def test_h3_a_penalty_leaves_the_page_at_its_term_and_when_it_is_revoked(city: Rehearsal, uscc: str) -> None:
    found(city, uscc=uscc)
    penalty(city, uscc)
    penalty(city, uscc, "P2")
    city.update("fda.penalty", {"decision_no": "P2"}, revoked_date=days("2016-11-01"))
    assert [row["decision_no"] for row in city.rows("registration.disclosure")["E1"]["violations"]] == ["P1"]
    city.tick("2017-10-24")
    assert city.rows("registration.disclosure")["E1"]["violations"]
    city.tick("2017-10-25")
    assert not city.rows("registration.disclosure")["E1"]["violations"]


def test_h3_what_fits_two_live_entities_is_shown_of_neither(city: Rehearsal, uscc: str) -> None:
    found(city, uscc=uscc)
    found(city, "E2", uscc=uscc)
    licence(city, uscc)
    assert kinds(city) == ["HOLDER_AMBIGUOUS"]
    assert not any(row["permits"] for row in city.rows("registration.disclosure").values())
    city.update("aic.enterprise", {"ent_id": "E2"}, status="DEREGISTERED", status_date=days("2016-10-25"))
    assert not city.queue()
    assert city.rows("registration.disclosure")["E1"]["permits"]


def test_h3_an_unknown_holder_waits_ten_working_days_before_a_person_is_asked(city: Rehearsal, uscc: str) -> None:
    licence(city, uscc)
    licence(city, uscc[:-1] + ("1" if uscc[-1] != "1" else "2"), licence_no="JY2")
    assert kinds(city) == ["HOLDER_ID_INVALID"]
    city.tick("2016-11-08")
    assert sorted(kinds(city)) == ["HOLDER_ID_INVALID", "HOLDER_UNKNOWN"]


def test_h3_what_names_the_person_behind_a_sole_trader_is_probable_and_never_shown(city: Rehearsal) -> None:
    found(city, kind="SOLE_TRADER", name="天河区粤达饭店")
    penalty(city, REP, subject_kind="PERSON", subject_name="天河区 粤达饭店")
    assert kinds(city) == ["PROBABLE_HOLDER"]
    assert not city.rows("registration.disclosure")["E1"]["violations"]


# ── H4 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h4_a_withdrawn_registration_retracts_pushes_and_page_and_keeps_the_history(city: Rehearsal, uscc: str) -> None:
    found(city, uscc=uscc)
    item(city, FOOD)
    item(city, CHEMICALS)
    licence(city, uscc)
    act(city, "fda", "CLAIM", "2016-10-24T12:00:00+08:00")
    city.settle()
    city.now = "2016-10-26T10:00:00+08:00"
    city.update("aic.enterprise", {"ent_id": "E1"}, status="WITHDRAWN", status_date=days("2016-10-26"))
    assert not city.rows("registration.push")
    assert not city.rows("registration.disclosure")
    gone = [change for change in city.history if change.after is None and change.feed != "registration.queue"]
    assert {(change.feed, change.reason) for change in gone} == {
        ("registration.push", "RETRACTED"),
        ("registration.disclosure", "RETRACTED"),
    }
    claim = city.rows("registration.claim")["E1|H6201|fda|440106"]
    assert [step["state"] for step in claim["steps"]] == ["PUSHED", "CLAIMED", "RETRACTED"]
    assert claim["steps"][-1]["at"] == micros(city.now)
    assert set(states(city).values()) == {"RETRACTED"}
    city.tick("2016-12-01")
    assert set(states(city).values()) == {"RETRACTED"}, "nothing escalates any more"
    city.check_rows()


def test_h4_a_deregistered_entity_keeps_its_page_and_its_claims_and_is_asked_about_no_more(city: Rehearsal) -> None:
    found(city)
    item(city, FOOD)
    item(city, CHEMICALS)
    act(city, "fda", "CLAIM", "2016-10-24T12:00:00+08:00")
    city.update("aic.enterprise", {"ent_id": "E1"}, status="DEREGISTERED", status_date=days("2016-10-24"))
    assert city.rows("registration.disclosure")["E1"]["status"] == "DEREGISTERED"
    city.tick("2016-12-01")
    assert set(states(city).values()) <= {"CLAIMED", "RETRACTED"}


# ── H5 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h5_the_public_page_never_has_the_representatives_number_and_masks_a_sole_traders_address(
    city: Rehearsal,
) -> None:
    found(city)
    found(city, "E2", kind="SOLE_TRADER")
    found(city, "E3", kind="SOMETHING_NEW")
    pages = city.rows("registration.disclosure")
    assert REP not in repr(city.rows("registration.disclosure")) + repr(city.rows("registration.push"))
    assert not {"legal_rep_id", "legal_rep_id_type"} & CONTRACTS["registration.disclosure"].by_name.keys()
    assert pages["E1"]["address"] == "广州市天河区体育东路1号101房"
    for masked in (pages["E2"]["address"], pages["E3"]["address"]):
        assert "体育" not in masked
        assert masked.count("*") == len(masked) - 2


# ── H6 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_h6_the_board_has_134_rows_and_each_balances_with_its_source(city: Rehearsal, uscc: str) -> None:
    found(city, uscc=uscc)
    found(city, "E2", kind="SOLE_TRADER", status="WITHDRAWN", status_date=days("2016-10-24"))
    item(city, FOOD)
    item(city, "H6206")
    item(city, FOOD, "E9")
    licence(city, uscc)
    licence(city, "123", licence_no="JY2")
    licence(city, Numbers().registration_no(), "REGISTRATION_NO", "JY3", licence_kind="WINE")
    act(city, "fda", "CLAIM", "2016-10-24T12:00:00+08:00")
    act(city, "health", "REFUSE", "2016-10-24T12:00:00+08:00")
    rows = on_board(city)
    assert len(rows) == 134
    assert all(row["is_balanced"] for row in rows.values())
    by_feed = Counter[str]()
    for row in rows.values():
        by_feed[row["feed"] or ""] += row["source"]
    for feed, table in city._tables.items():
        assert by_feed[feed] == len(table), feed
    named = {row["name"]: (row["published"], row["rejected"], row["in_flight"]) for row in rows.values()}
    assert named["企业登记"] == (1, 0, 0)
    assert named["个体工商户登记"] == (0, 1, 0)
    assert named["后置许可经营事项"] == (1, 0, 2)
    assert named["食品经营许可"] == (1, 1, 0)
    assert named["其他食品药品许可"] == (0, 0, 1)
    assert named["卫计经营事项退回"] == (0, 1, 0)
    city.delete("fda.licence", {"licence_kind": "FOOD_SERVICE", "licence_no": "JY2"})
    assert next(row for row in on_board(city).values() if row["name"] == "食品经营许可")["source"] == 1
    city.check_rows()


def test_h6_every_feed_of_the_flow_is_on_the_board() -> None:
    path = Path(__file__).parents[4] / "streams" / "flows" / "registration" / "topics.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        feeds = {line["feed"] for line in csv.DictReader(lines)}
    assert len(TOPICS) == 134
    assert {entry.feed for entry in FLOW.inputs} == feeds - {""}


# ── any order ────────────────────────────────────────────────────────────────────────────────────────────────────────


class History:
    """Three weeks of a few entities: they come, move, end, are withdrawn; departments claim, refuse, pass on, correct."""

    codes = (FOOD, CHEMICALS, "H6204", "H6205", "H6206")

    def __init__(self, rng: Random) -> None:
        self.rng, numbers = rng, Numbers()
        self.source = Rehearsal(FLOW, CONTRACTS, now="2016-10-10T10:00:00+08:00")
        self.streams: dict[str, list[Change]] = {}
        self.source.take = self._keep  # type: ignore[method-assign]
        self.usccs = [numbers.uscc("91", numbers.org_code(True)) for _ in range(3)]
        happenings = [self.founds, self.alters, self.adds, self.adds, self.drops, *[self.acts] * 5, self.permits]
        for day in range(10, 31):
            self.source.now = f"2016-10-{day}T10:00:00+08:00"
            for _ in range(rng.randrange(6)):
                rng.choice(happenings)()

    def _keep(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.streams.setdefault(change.feed, []).append(change)

    def _known(self, feed: str) -> list[Row]:
        return list(self.source._tables.get(feed, {}).values())

    def founds(self) -> None:
        ent_id = self.rng.choice(["E1", "E1", "E2"])
        if ent_id not in self.source._tables.get("aic.enterprise", {}):
            uscc, kind = self.rng.choice([*self.usccs, None]), self.rng.choice(["ENTERPRISE", "SOLE_TRADER"])
            found(self.source, ent_id, uscc=uscc, kind=kind, reg_region=self.rng.choice(["440106", "440104", "440116"]))

    def alters(self) -> None:
        for row in self._known("aic.enterprise")[: self.rng.randrange(2)]:
            key = {"ent_id": row["ent_id"]}
            if self.rng.random() < 0.15:
                self.source.delete("aic.enterprise", key)
            elif self.rng.random() < 0.5:
                self.source.update("aic.enterprise", key, reg_region=self.rng.choice(["440106", "440104", "999999"]))
            else:
                status = self.rng.choice(["ACTIVE", "ACTIVE", "ACTIVE", "WITHDRAWN", "DEREGISTERED"])
                self.source.update("aic.enterprise", key, status=status, status_date=days(self.source.now[:10]))

    def adds(self) -> None:
        ent_id, code = self.rng.choice(["E1", "E1", "E2"]), self.rng.choice(self.codes)
        if f"{ent_id}|{code}" not in self.source._tables.get("aic.scope_item", {}):
            item(self.source, code, ent_id, self.rng.choice(["AFTER", "AFTER", "GENERAL"]))

    def drops(self) -> None:
        for row in self._known("aic.scope_item")[: self.rng.randrange(2)]:
            self.source.delete("aic.scope_item", {"ent_id": row["ent_id"], "item_code": row["item_code"]})

    def acts(self) -> None:
        actor = self.rng.choice(["fda", "work_safety", "health", "aic"])
        about = self.rng.choice(["fda", "work_safety", "none"]) if actor == "aic" else ""
        to = self.rng.choice(["fda", "work_safety", "health", "nobody"])
        at = f"{self.source.now[:11]}{self.rng.randrange(24):02}:00:00+08:00"
        action = self.rng.choice(["CLAIM", "REFUSE", "REROUTE", "REROUTE"])
        mine = [row["item_code"] for row in self._known("aic.scope_item") if row["ent_id"] == "E1"]
        act(self.source, actor, action, at, self.rng.choice([*mine, *mine, FOOD]), to, about)

    def permits(self) -> None:
        number = f"JY{self.rng.randrange(4)}"
        key = {"licence_kind": "FOOD_SERVICE", "licence_no": number}
        if f"FOOD_SERVICE|{number}" not in self.source._tables.get("fda.licence", {}):
            licence(self.source, self.rng.choice(self.usccs), licence_no=number)
        elif self.rng.random() < 0.3:
            self.source.delete("fda.licence", key)
        else:
            self.source.update("fda.licence", key, uscc=self.rng.choice([*self.usccs, "1"]))


@pytest.mark.parametrize("seed", [*range(8), int(os.environ["MESH_CHAOS_SEED"])])  # one for all workers
def test_any_interleaving_of_the_feeds_and_ticks_ends_in_the_same_state_and_on_a_board_that_balances(seed: int) -> None:
    rng = Random(seed)
    history = History(rng)
    ends = []
    for order in interleavings(history.streams.values(), seed, 6):
        city, clock = Rehearsal(FLOW, CONTRACTS), micros("2016-10-10")
        for change in order:
            city.take([change])
            if rng.random() < 0.1:
                clock += rng.randrange(24 * 3_600) * 1_000_000
                city.tick(min(clock, micros("2016-11-10")))
        for hour in range(3):
            city.tick(f"2016-11-10T0{hour}:00:00+08:00")
        ends.append({feed: city.rows(feed) for feed in FLOW.outputs})
        city.check_rows()
        assert not {"FOLD_FAILED", "NOT_UNDERSTOOD"} & set(kinds(city)), f"seed {seed}"
        sources = Counter[str]()
        for row in city.rows("registration.topic").values():
            assert row["is_balanced"], f"seed {seed}"
            sources[row["feed"] or ""] += row["source"]
        for feed in {entry.feed for entry in FLOW.inputs}:
            assert sources[feed] == len(history._known(feed)), f"seed {seed}: {feed}"
    for end in ends[1:]:
        assert end == ends[0], f"seed {seed}"
