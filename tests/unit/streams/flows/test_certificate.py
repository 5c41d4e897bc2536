from __future__ import annotations

import json
import os
from datetime import date
from random import Random

import pytest

from ops.city.numbers import Numbers
from schemas.change import Change
from schemas.errors import Misconfigured
from streams.flows.certificate import FLOW
from streams.flows.certificate.signing import is_genuine, public_key, sign
from streams.flows.certificate.types import TYPES, extract, extract_of, read_types
from tests.stage.rehearsal import Rehearsal, city_contracts, days, interleavings, micros

SEED = 20161001
RNG = Random(SEED)
PERSON = Numbers().citizen_id(RNG, date(1990, 1, 1), "1")
OTHER = Numbers().citizen_id(RNG, date(1980, 5, 5), "2")
CARD = f"{PERSON}42"
CONTRACTS = city_contracts()
CERT, RENEWED = "7d0c2a3e-0000-4000-8000-000000000001", "7d0c2a3e-0000-4000-8000-000000000002"
DISABILITY, FOOD = "44010001", "44010003"
MATTER = "440100-CL-03"
NOON = "2016-11-10T12:00:00+08:00"


def at(text: str) -> int:
    return micros(text)


@pytest.fixture
def city() -> Rehearsal:
    city = Rehearsal(FLOW, CONTRACTS, now=NOON)
    put_card(city)
    put_person(city)
    return city


def put_card(city: Rehearsal, **columns: object) -> Change:
    row = {"card_no": CARD, "citizen_id": PERSON, "kind": "4", "level": "2", "status": "VALID"}
    return city.insert("disabled.card", **(row | columns))


def put_person(city: Rehearsal, **columns: object) -> Change:
    row = {"id_type": "CITIZEN_ID", "id_no": PERSON, "supersedes": [], "life_status": "ALIVE"}
    return city.insert("base.person", **(row | columns))


def issue(city: Rehearsal, cert_id: str = CERT, **columns: object) -> Change:
    row = {
        "cert_id": cert_id,
        "type_code": DISABILITY,
        "cert_no": CARD,
        "holder_id_type": "CITIZEN_ID",
        "holder_id": PERSON,
        "holder_name": "王小明",
        "issuer": "广州市残疾人联合会",
        "issue_date": days("2016-10-01"),
        "valid_from": days("2016-10-01"),
        "valid_to": days("2026-09-30"),
        "version": 1,
        "file_digest": "ab" * 32,
        "status": "VALID",
        "updated_at": at("2016-10-01T09:00:00+08:00"),
    }
    return city.insert("certs.certificate", **(row | columns))


def use(city: Rehearsal, use_id: str = "U1", **columns: object) -> Change:
    row = {
        "use_id": use_id,
        "cert_id": CERT,
        "verifier_agency": "disabled",
        "officer": "0042",
        "matter_code": MATTER,
        "purpose": "零星报销",
        "used_at": at(NOON),
        "items_disclosed": ["姓名", "编号"],
        "holder_present": True,
        "result": "ACCEPTED",
    }
    return city.insert("certs.certificate_use", **(row | columns))


def status(city: Rehearsal, cert_id: str = CERT) -> tuple[str, str]:
    row = city.rows("certificate.status")[cert_id]
    return row["status"], row["cause"]


def revoke(city: Rehearsal, moment: str) -> Change:
    key = {"cert_id": CERT}
    return city.update("certs.certificate", key, status="REVOKED", status_date=days(moment[:10]), updated_at=at(moment))


def test_j1_issue_is_valid_revoke_is_revoked_and_each_use_is_judged_at_its_time(city: Rehearsal) -> None:
    issue(city)
    assert status(city) == ("VALID", "NONE")
    city.now = "2016-11-10T13:00:00+08:00"
    revoke(city, "2016-11-10T12:00:00+08:00")
    assert status(city) == ("REVOKED", "SOURCE")
    use(city, "before", used_at=at("2016-11-10T11:59:59+08:00"))
    use(city, "race", used_at=at("2016-11-10T12:00:30+08:00"))
    use(city, "after", used_at=at("2016-11-10T12:30:00+08:00"))
    use(city, "refused", used_at=at("2016-11-10T12:40:00+08:00"), result="REFUSED")
    rows = city.rows("certificate.use")
    assert {name: (row["status_at_use"], row["follow_up"]) for name, row in rows.items()} == {
        "before": ("VALID", []),
        "race": ("REVOKED", ["USED_IN_RACE_WINDOW"]),
        "after": ("REVOKED", ["USED_WHILE_REVOKED"]),
        "refused": ("REVOKED", []),
    }
    assert sorted(item["kind"] for item in city.queue()) == ["USED_IN_RACE_WINDOW", "USED_WHILE_REVOKED"]
    city.check_rows()


def test_j1_a_revocation_that_is_heard_of_after_the_use_lists_it(city: Rehearsal) -> None:
    issue(city)
    use(city)
    assert city.rows("certificate.use")["U1"]["follow_up"] == []
    revoke(city, "2016-11-09T12:00:00+08:00")
    assert city.rows("certificate.use")["U1"]["follow_up"] == ["USED_WHILE_REVOKED"]
    assert not city.rows("certificate.reimbursement"), "the case that it opened is withdrawn"


def test_j1_term_and_renewal_by_event_time(city: Rehearsal) -> None:
    issue(city, valid_to=days("2016-11-20"))
    city.tick("2016-11-20T23:59:59+08:00")
    assert status(city) == ("VALID", "NONE")
    city.tick("2016-11-21")
    assert status(city) == ("EXPIRED", "TERM")
    issue(city, RENEWED, previous_cert_id=CERT, valid_from=days("2016-11-20"), updated_at=at(NOON))
    assert status(city) == ("CANCELLED", "RENEWED")
    assert status(city, RENEWED) == ("VALID", "NONE")
    assert city.rows("certificate.status")[CERT]["next_cert_id"] == RENEWED
    use(city, used_at=at(NOON))
    assert city.rows("certificate.use")["U1"]["status_at_use"] == "VALID", "before the renewal took effect"
    city.check_rows()


def test_j2_only_granted_items_and_a_log_that_says_who_and_what_for(city: Rehearsal) -> None:
    face = json.dumps({"姓名": "王小明", "编号": CARD, "残疾类别": "肢体", "有效期": "2026-09-30"}, ensure_ascii=False)
    granted = extract_of("440100-JT-02", DISABILITY, "transport", at(NOON))
    assert extract(face, granted.items) == {"编号": CARD, "残疾类别": "肢体"}
    assert extract(face, extract_of("440100-JT-02", DISABILITY, "edu", at(NOON)).items) == {}
    issue(city)
    use(city, "excess", items_disclosed=["姓名", "有效期"])
    use(city, "absent", holder_present=False)
    use(city, "anonymous", officer="")
    rows = city.rows("certificate.use")
    assert {name: row["follow_up"] for name, row in rows.items()} == {
        "excess": ["EXCESS_ITEMS"],
        "absent": ["HOLDER_ABSENT"],
        "anonymous": ["LOG_INCOMPLETE"],
    }
    row = rows["absent"]
    assert (row["officer"], row["matter_code"], row["holder_present"]) == ("0042", MATTER, False)
    assert not city.rows("certificate.reimbursement")
    city.check_rows()


@pytest.mark.parametrize(
    ("card", "kind"),
    [
        ({"citizen_id": OTHER}, "CARD_MISMATCH"),
        ({"kind": "5"}, "CARD_MISMATCH"),
        ({"level": "1"}, "CARD_MISMATCH"),
        ({"card_no": f"{PERSON}82"}, "CARD_KIND"),
        ({"card_no": f"{PERSON}45"}, "CARD_LEVEL"),
    ],
)
def test_j3_a_card_whose_number_and_columns_disagree_is_rejected(card: dict[str, str], kind: str) -> None:
    city = Rehearsal(FLOW, CONTRACTS, now=NOON)
    put_card(city, **card)
    issue(city, cert_no=card.get("card_no", CARD))
    assert status(city) == ("REJECTED", "COUNTERFEIT_NUMBER")
    assert sorted(item["kind"] for item in city.queue()) == [kind, "COUNTERFEIT_NUMBER"]
    assert PERSON not in str(city.queue())
    city.check_rows()


def test_j3_a_number_that_no_card_has_or_that_is_another_persons_is_counterfeit(city: Rehearsal) -> None:
    issue(city, cert_no=f"{PERSON}43")
    assert status(city) == ("REJECTED", "COUNTERFEIT_NUMBER")
    city.update("certs.certificate", {"cert_id": CERT}, cert_no=CARD, holder_id=OTHER)
    assert status(city) == ("REJECTED", "COUNTERFEIT_NUMBER")
    city.update("certs.certificate", {"cert_id": CERT}, holder_id=PERSON)
    assert status(city) == ("VALID", "NONE")
    city.update("disabled.card", {"card_no": CARD}, status="CANCELLED")
    assert status(city) == ("SUSPENDED", "CARD_NOT_VALID")


def test_j4_a_disability_certificate_at_the_counter_opens_a_reimbursement_case_without_paper(city: Rehearsal) -> None:
    issue(city)
    use(city)
    (case,) = city.rows("certificate.reimbursement").values()
    assert (case["cert_id"], case["file_digest"], case["use_id"]) == (CERT, "ab" * 32, "U1")
    assert (case["applicant_id"], case["state"], case["opened_at"]) == (PERSON, "OPEN", at(NOON))
    assert case["items"] == ["姓名", "残疾等级", "残疾类别", "编号"]
    use(city, "other matter", matter_code="440100-CL-04", verifier_agency="civil")
    assert len(city.rows("certificate.reimbursement")) == 1
    city.check_rows()


def test_j5_a_citizen_can_list_who_used_their_certificates(city: Rehearsal) -> None:
    issue(city)
    use(city)
    use(city, "U2", verifier_agency="transport", matter_code="440100-JT-02", items_disclosed=["编号"])
    issue(city, RENEWED, type_code="44010004", cert_no="X", holder_id=OTHER)
    use(city, "U3", cert_id=RENEWED)
    mine = [row for row in city.rows("certificate.holder_view").values() if row["holder_id"] == PERSON]
    assert {(row["use_id"], row["verifier_agency"], row["type_name"]) for row in mine} == {
        ("U1", "disabled", "残疾人证"),
        ("U2", "transport", "残疾人证"),
    }
    city.check_rows()


def test_j6_138_types_come_from_one_csv_and_an_unknown_one_is_turned_away(city: Rehearsal, tmp_path) -> None:
    assert len(TYPES) == 138
    for code in ("44010002", "44010003", "44019999"):
        entry = TYPES.get(code)
        city.insert(
            "certs.certificate_type",
            type_code=code,
            holder_kind=entry.holder_kind if entry else "PERSON",
            is_public=entry.is_public if entry and code != "44010003" else False,
            items=list(entry.items) if entry else [],
        )
    city.tick("2016-11-11")
    register = city.rows("certificate.type_register")
    assert len(register) == 138
    assert sorted(code for code, row in register.items() if row["in_source"]) == ["44010002", "44010003"]
    assert sorted(item["kind"] for item in city.queue()) == ["TYPE_DIFFERS", "TYPE_UNKNOWN"]
    issue(city, type_code="44019999")
    assert not city.rows("certificate.status")
    assert [item["kind"] for item in city.queue() if CERT in item["conflict_id"]] == ["TYPE_UNKNOWN"]
    city.check_rows()
    path = tmp_path / "types.csv"
    path.write_text("type_code,name,items,issuer_agency,holder_kind,is_public,number_rule\n1,甲,x,a,PERSON,true,\n")
    assert read_types(path)["1"].items == ("x",)
    path.write_text(path.read_text() + "1,乙,x,a,PERSON,true,\n")
    with pytest.raises(Misconfigured, match="type 1 is no good line"):
        read_types(path)


def test_c5_a_death_suspends_certificates_and_its_retraction_restores_them(city: Rehearsal) -> None:
    issue(city)
    assert status(city) == ("VALID", "NONE")
    key = {"id_type": "CITIZEN_ID", "id_no": PERSON}
    city.update("base.person", key, life_status="DECEASED", death_date=days("2016-11-09"))
    assert status(city) == ("SUSPENDED", "HOLDER_DEAD")
    assert [item["kind"] for item in city.queue()] == ["HOLDER_DEAD"]
    use(city, "after death")
    use(city, "before", used_at=at("2016-11-08T12:00:00+08:00"))
    assert city.rows("certificate.use")["after death"]["follow_up"] == ["USED_AFTER_DEATH"]
    assert city.rows("certificate.use")["before"]["follow_up"] == []
    city.update("base.person", key, life_status="ALIVE", death_date=None)
    assert status(city) == ("VALID", "NONE")
    assert not city.queue()
    seen = [row.after["status"] for row in city.changes_of("certificate.status") if row.after]
    assert seen == ["VALID", "SUSPENDED", "VALID"]
    city.check_rows()


def test_c5_a_person_whose_number_changed_is_still_the_holder(city: Rehearsal) -> None:
    issue(city)
    put_person(city, id_no=OTHER, supersedes=[PERSON], life_status="DECEASED", death_date=days("2016-11-09"))
    city.delete("base.person", {"id_type": "CITIZEN_ID", "id_no": PERSON})
    assert status(city) == ("SUSPENDED", "HOLDER_DEAD")


def test_a_certificate_that_nobody_issued_a_wrong_clock_and_two_revocations(city: Rehearsal) -> None:
    use(city, "unknown")
    assert city.rows("certificate.use")["unknown"]["follow_up"][0] == "CERTIFICATE_UNKNOWN"
    assert "CERTIFICATE_UNKNOWN" in {item["kind"] for item in city.queue()}
    issue(city)
    assert city.rows("certificate.use")["unknown"]["follow_up"] == []
    use(city, "skewed", used_at=at("2016-11-10T12:30:00+08:00"))
    row = city.rows("certificate.use")["skewed"]
    assert (row["judged_at"], row["follow_up"]) == (at(NOON), ["CLOCK_SKEW"])
    revoke(city, "2016-11-09T12:00:00+08:00")
    revoke(city, "2016-11-10T12:00:00+08:00")
    kinds = {item["kind"] for item in city.queue()}
    assert "REVOKED_TWICE" in kinds
    assert status(city) == ("REVOKED", "SOURCE")
    city.check_rows()


def test_a_forged_signature_is_found_outside_and_rejected_inside(city: Rehearsal) -> None:
    key = os.urandom(32)
    digest = "ab" * 32
    signature = sign(key, CERT, 1, digest)
    public = public_key(key)
    assert is_genuine(public, signature, CERT, 1, digest)
    assert not is_genuine(public, signature, CERT, 2, digest)
    assert not is_genuine(public, signature, RENEWED, 1, digest)
    issue(city)
    assert city.rows("certificate.status")[CERT]["signature_check"] == "NOT_CHECKED"
    city.insert("certs.certificate_check", cert_id=CERT, version=1, file_digest="other", result="FORGED", checked_at=0)
    assert status(city) == ("VALID", "NONE"), "a check of another file says nothing"
    city.update("certs.certificate_check", {"cert_id": CERT, "version": 1}, file_digest=digest)
    assert status(city) == ("REJECTED", "FORGED_SIGNATURE")
    city.update("certs.certificate_check", {"cert_id": CERT, "version": 1}, result="GENUINE")
    assert city.rows("certificate.status")[CERT]["signature_check"] == "GENUINE"
    assert status(city) == ("VALID", "NONE")
    city.check_rows()


def test_any_interleaving_ends_in_the_same_standing_and_the_same_follow_ups() -> None:
    source = Rehearsal(FLOW, CONTRACTS, now=NOON)
    key = {"id_type": "CITIZEN_ID", "id_no": PERSON}
    streams = [
        [put_card(source)],
        [put_person(source), source.update("base.person", key, life_status="DECEASED", death_date=days("2016-11-10"))],
        [issue(source), revoke(source, "2016-11-10T11:59:40+08:00")],
        [use(source), use(source, "U2", used_at=at("2016-11-08T08:00:00+08:00"))],
    ]
    source.tick("2016-11-11")
    assert source.rows("certificate.use")["U1"]["follow_up"] == ["USED_IN_RACE_WINDOW"]
    for number, merged in enumerate(interleavings(streams, SEED, 25)):
        city = Rehearsal(FLOW, CONTRACTS, now=NOON)
        city.take(merged)
        city.tick("2016-11-11")
        for feed in FLOW.outputs:
            assert city.rows(feed) == source.rows(feed), f"{feed}, merge {number} of seed {SEED}"
