"""Credit (公共信用): penalties, red and black lists, arrears; and who objects to a record or has it repaired."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from ops.city import dirt
from ops.city.chance import OPENING, UNLIMITED, days_ago, moment_of, money
from ops.city.city import City
from ops.city.flow_data import record_id
from ops.city.people.assets import adult, firm_id
from ops.city.people.roll import Row

LIST, OBJECTION, REPAIR = "aic.credit_list", "aic.credit_objection", "aic.credit_repair"
ARREARS = "hrss.insurance_arrears"
LISTED = 160_000
IN_ARREARS = 60_000
PENALTIES = ("aic.penalty", "fda.penalty")
OBJECTED_TO = ("fda.penalty", "court.dishonest_debtor", "aic.credit_list")
"""Gathered feeds that people object to most."""
_FIELDS = {"fda.penalty": ("amount", "result"), "court.dishonest_debtor": ("court",), "aic.credit_list": ("cause",)}
_OFFENCES = {
    "fda": (
        "《中华人民共和国食品安全法》",
        ("超范围经营", "未取得许可从事食品经营", "销售过期食品", "未按规定贮存药品"),
    ),
    "aic": ("《中华人民共和国公司登记管理条例》", ("无照经营", "虚假宣传", "提交虚假材料取得登记", "擅自改变登记事项")),
}
_OFFICES = {"fda": "穗食药监罚", "aic": "穗工商处字"}
_HONOURS = ("纳税信用A级", "守合同重信用企业", "见义勇为", "优秀志愿服务")
_FAULTS = ("重大税收违法", "拖欠农民工工资", "严重违法失信", "骗取社会保险待遇")
_TRIES = 40
_HOMES = {
    "INSTITUTION": "staffing.institution",
    "GOVERNMENT": "staffing.institution",
    "SOCIAL_ORGANISATION": "civil.social_organisation",
}


def keep(city: City) -> None:
    """Everything in this file as it stood before the opening day."""
    rng = city.rng
    for firm in list(city.rolls["aic.enterprise"]):
        for feed, share in (("aic.penalty", 0.05), ("fda.penalty", 0.08)):
            if rng.random() < share:
                city.put(feed, **penalty_columns(city, feed, firm, days_ago(rng, 1, 900)))
    for _ in range(city.count(LISTED)):
        city.put(LIST, **list_columns(city, days_ago(rng, 1, 1200)))
    for _ in range(city.count(IN_ARREARS)):
        columns = arrears_columns(city, rng.choice(("201606", "201607", "201608")))
        if columns is not None and city.rolls[ARREARS].key_of(columns) not in city.rolls[ARREARS]:
            if rng.random() < 0.4:
                columns["settled_date"] = min(
                    columns["due_date"] + timedelta(days=10 + int(rng.random() * 40)), OPENING
                )
            city.put(ARREARS, **columns)
    _contest(city)


def _contest(city: City) -> None:
    """Objections to records, and repairs, at every stage."""
    rng = city.rng
    for feed in OBJECTED_TO:
        for row in list(city.rolls[feed]):
            if rng.random() < 0.04:
                columns = objection_columns(city, feed, row, moment_of(rng, days_ago(rng, 2, 30)))
                state = rng.choice(("OPEN", "PROVIDER_CHECKING", "REJECTED", "UPHELD"))
                city.put(OBJECTION, **columns | answer_columns(state, columns["raised_at"] + timedelta(days=1)))
    for row in list(city.rolls["fda.penalty"]):
        if rng.random() < 0.05 and row["decided_date"] < OPENING - timedelta(days=90):
            repaired = min(row["decided_date"] + timedelta(days=80), OPENING)
            columns = repair_columns(city, "fda.penalty", row, repaired)
            state = rng.choice(("GRANTED", "REFUSED", "APPLIED"))
            columns |= {"status": state, "status_date": None if state == "APPLIED" else repaired}
            city.put(REPAIR, **columns)


def penalty_columns(city: City, feed: str, firm: Row, day: date) -> Row:
    """A penalty's (行政处罚) columns; how long it is published follows from how grave it is."""
    rng = city.rng
    agency = feed.partition(".")[0]
    basis, causes = _OFFENCES[agency]
    number, id_columns = city.numbers.serial("penalty"), _subject(firm)
    days = rng.choices((365, 1095), (75, 25))[0]
    return {
        "decision_no": f"{_OFFICES[agency]}[{day.year}]{number:06}号",
        **id_columns,
        "subject_name": dirt.name(rng, firm["name"].strip()),
        "cause": rng.choice(causes),
        "basis": basis,
        "result": rng.choice(("罚款", "警告", "没收违法所得", "罚款；没收违法所得")),
        "amount": money(rng, 500, 80_000) if rng.random() < 0.8 else None,
        "region": firm["reg_region"],
        "decided_date": day,
        "publish_until": UNLIMITED if rng.random() < 0.1 else day + timedelta(days=days),
    }


def _subject(firm: Row) -> Row:
    if firm["kind"] == "SOLE_TRADER":
        return {"subject_kind": "PERSON", "subject_id": firm["legal_rep_id"]}
    return {"subject_kind": "ENTERPRISE", "subject_id": firm_id(firm)[1]}


def list_columns(city: City, day: date) -> Row:
    """A line of the red and black lists (红黑名单), for subjects of all five kinds; one in twenty has no number."""
    rng = city.rng
    kind = rng.choices(
        ("ENTERPRISE", "PERSON", "INSTITUTION", "SOCIAL_ORGANISATION", "GOVERNMENT"), (45, 30, 9, 10, 6)
    )[0]
    if kind in _HOMES and not len(city.rolls[_HOMES[kind]]):
        kind = "PERSON"  # a very small city may have no office left
    if kind == "PERSON":
        person = adult(city)
        number, name = person["citizen_id"], person["name"]
    elif kind == "ENTERPRISE":
        firm = city.rolls["aic.enterprise"].pick(rng) or {}
        number, name = firm_id(firm)[1], firm["name"]
    else:
        kind, number, name = _body(city, kind)
    is_red = kind in {"INSTITUTION", "GOVERNMENT"} or rng.random() < 0.6
    return {
        "list_no": f"{'HO' if is_red else 'HE'}{day:%Y%m}{city.numbers.serial('list'):06}",
        "list_kind": "RED" if is_red else "BLACK",
        "subject_kind": kind,
        "subject_id": (number or None) if rng.random() > 0.05 else None,
        "subject_name": name.strip(),
        "cause": rng.choice(_HONOURS if is_red else _FAULTS),
        "listed_date": day,
        "publish_until": None if rng.random() < 0.3 else day + timedelta(days=3 * 365),
    }


def _body(city: City, wanted: str) -> tuple[str, str, str]:
    """Kind, code and name of an institution, office or social organisation: of the wanted kind, if a few draws find one."""
    found, tries = city.rolls[_HOMES[wanted]].pick(city.rng), 1
    assert found is not None
    while wanted not in {"SOCIAL_ORGANISATION", found["kind"]} and tries < _TRIES:
        found, tries = city.rolls[_HOMES[wanted]].pick(city.rng) or found, tries + 1
    kind = wanted if wanted == "SOCIAL_ORGANISATION" else found["kind"]
    return kind, found["uscc"], found["name"]


def arrears_columns(city: City, period: str) -> Row | None:
    """An employer's insurance arrears (社会保险欠费); None if no employer with a unified code is found."""
    rng = city.rng
    firm = coded_firm(city)
    if firm is None:
        return None
    due = date(int(period[:4]) + int(period[4:]) // 12, int(period[4:]) % 12 + 1, 15)
    return {
        "employer_uscc": firm["uscc"],
        "insurance_kind": rng.choice(("PENSION", "MEDICAL", "UNEMPLOYMENT", "INJURY")),
        "period": period,
        "employer_name": firm["name"].strip(),
        "amount": money(rng, 800, 90_000),
        "due_date": due,
        "publish_until": UNLIMITED if rng.random() < 0.2 else due + timedelta(days=365),
        "settled_date": None,
    }


def coded_firm(city: City, trades: Sequence[str] = ()) -> Row | None:
    """A live firm with a unified social credit code, of one of these trades if any are named; None if few draws find none."""
    for _ in range(150):
        firm = city.rolls["aic.enterprise"].pick(city.rng)
        if firm and firm["uscc"] and firm["status"] == "ACTIVE" and (not trades or firm["industry"] in trades):
            return firm
    return None


def record_of(city: City, feed: str, row: Row) -> str:
    """By which number the public knows the record that a department's row became."""
    return record_id(feed, "|".join(str(value) for value in city.rolls[feed].key_of(row)))


def objection_columns(city: City, feed: str, row: Row, raised: datetime) -> Row:
    """An objection's (信用疑义) columns: it names what was seen only by its digest."""
    rng = city.rng
    name = rng.choice(_FIELDS[feed])
    seen = "" if row[name] is None else str(row[name])
    serial = city.numbers.serial("objection")
    return {
        "objection_id": f"YY{raised:%Y}{serial:06}",
        "record_id": record_of(city, feed, row),
        "field": name,
        "seen_value_hash": hashlib.sha256(seen.encode()).hexdigest(),
        "claimed": None if rng.random() < 0.5 else "与事实不符",
        "evidence_ref": f"ZJ{serial:06}" if rng.random() < 0.6 else None,
        "raised_by": row["subject_name"],
        "raised_at": raised,
        "due_at": raised + timedelta(days=14),
        "state": "OPEN",
    }


def answer_columns(state: str, answered: datetime) -> Row:
    """What the provider says to an objection, as far as it is."""
    is_decided = state in {"REJECTED", "UPHELD"}
    return {
        "state": state,
        "decided_at": answered if is_decided else None,
        "reason": "经核查，原记录属实" if state == "REJECTED" else None,
    }


def repair_columns(city: City, feed: str, row: Row, day: date) -> Row:
    """A credit repair's (信用修复) columns, applied for."""
    return {
        "repair_no": f"XF{day:%Y}{city.numbers.serial('repair'):06}",
        "record_id": record_of(city, feed, row),
        "repaired_date": day,
        "status": "APPLIED",
    }
