"""Papers: licences, penalties, court lists, permits, household checks and electronic certificates."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from ops.city import dirt, names
from ops.city.assets import adult, firm_id
from ops.city.chance import days_ago, money
from ops.city.city import City
from ops.city.firms import ITEMS
from ops.city.roll import Row

CHECK_CASES = 67_704
PERMITS = 60_000
DEBTORS = 90_000
CERTIFICATE_TYPES = 138
SCOPES = ("VEHICLE", "PROPERTY", "INCOME", "INSURANCE", "TAX")


def issue(city: City) -> None:
    """Write what the departments had on paper before the opening day."""
    rng = city.rng
    for firm in list(city.rolls["aic.enterprise"]):
        if firm["industry"] in {"H62", "Q83"} and rng.random() < 0.7:
            city.put("fda.licence", **licence_columns(city, firm, days_ago(rng, 1, 1700)))
        if rng.random() < 0.08:
            city.put("fda.penalty", **penalty_columns(city, firm, days_ago(rng, 1, 900)))
    for _ in range(city.count(DEBTORS)):
        city.put("court.dishonest_debtor", **debtor_columns(city, days_ago(rng, 1, 900)))
    for _ in range(city.count(PERMITS)):
        city.put("construction.permit", **construction_columns(city, days_ago(rng, 1, 900)))
    _check_households(city)
    _certificates(city)


def licence_columns(city: City, firm: Row, day: date) -> Row:
    """A licence's (许可证) columns."""
    rng = city.rng
    id_type, number = firm_id(firm)
    kind = (
        rng.choice(("DRUG", "DEVICE")) if firm["industry"] == "Q83" else rng.choice(("FOOD_SERVICE", "FOOD_PRODUCTION"))
    )
    region = firm["reg_region"]
    return {
        "licence_kind": kind,
        "licence_no": f"JY{region}{city.numbers.serial('licence'):08}",
        "holder_id_type": id_type,
        "holder_id": number,
        "holder_name": dirt.name(rng, firm["name"].strip(), 0.02),
        "uscc": firm["uscc"],
        "item_code": rng.choice(ITEMS),
        "region": region,
        "issuer": f"广州市{names.REGIONS[region]}区食品药品监督管理局",
        "issue_date": day,
        "valid_to": day + timedelta(days=5 * 365 if rng.random() < 0.99 else -1),
        "status": "VALID",
    }


def penalty_columns(city: City, firm: Row, day: date) -> Row:
    """A penalty's (行政处罚) columns."""
    rng = city.rng
    region = firm["reg_region"]
    cause = rng.choice(("超范围经营", "未取得许可从事食品经营", "销售过期食品", "未按规定贮存药品"))
    return {
        "decision_no": f"穗食药监罚[{day.year}]{city.numbers.serial('penalty'):06}号",
        "subject_kind": "PERSON" if firm["kind"] == "SOLE_TRADER" else "ENTERPRISE",
        "subject_id": firm["legal_rep_id"] if firm["kind"] == "SOLE_TRADER" else firm_id(firm)[1],
        "subject_name": dirt.name(rng, firm["name"].strip()),
        "cause": cause,
        "basis": "《中华人民共和国食品安全法》",
        "result": rng.choice(("罚款", "警告", "没收违法所得", "罚款；没收违法所得")),
        "amount": money(rng, 500, 80_000) if rng.random() < 0.8 else None,
        "region": region,
        "decided_date": day,
        "publish_until": day + timedelta(days=365),
    }


def debtor_columns(city: City, day: date) -> Row:
    """A dishonest debtor's (失信被执行人) columns."""
    rng = city.rng
    firm = city.rolls["aic.enterprise"].pick(rng) if rng.random() < 0.4 else None
    person = adult(city)
    return {
        "court_case_no": f"（{day.year}）粤01执{city.numbers.serial('debtor')}号",
        "subject_id": firm_id(firm)[1] if firm else person["citizen_id"],
        "subject_kind": "ENTERPRISE" if firm else "PERSON",
        "subject_name": (firm or person)["name"].strip(),
        "court": f"广州市{names.REGIONS[names.region(rng)]}区人民法院",
        "listed_date": day,
    }


def construction_columns(city: City, day: date) -> Row:
    """A construction permit's (施工许可) columns."""
    rng = city.rng
    owner, builder = city.rolls["aic.enterprise"].pick(rng), city.rolls["aic.enterprise"].pick(rng)
    assert owner is not None
    assert builder is not None
    region = names.region(rng)
    return {
        "permit_no": f"{region}{day:%Y%m%d}{city.numbers.serial('construction'):05}",
        "project": f"{names.address(rng, region)[:12]}商住楼项目",
        "owner_uscc": owner["uscc"],
        "owner_name": owner["name"].strip(),
        "contractor_uscc": builder["uscc"],
        "contractor_name": builder["name"].strip(),
        "contractor_region": builder["reg_region"] if rng.random() < 0.7 else "440300",
        "region": region,
        "amount": money(rng, 100, 90_000),
        "start_date": day,
        "status": "ISSUED",
    }


def check_rows(city: City, accepted_at: datetime) -> dict[str, list[Row]]:
    """A household check (核对业务) with its members and their authorisations."""
    rng = city.rng
    person = adult(city)
    case_no = f"HD{accepted_at:%Y}{city.numbers.serial('check'):06}"
    kind = rng.choices(("LIVING_ALLOWANCE", "RENTAL_HOUSING", "LOW_INCOME", "MEDICAL_AID"), (58, 31, 6, 5))[0]
    family = [member for member in city.households[person["household_no"]] if member["status"] == "REGISTERED"]
    relations = {"HEAD": "OTHER", "SPOUSE": "SPOUSE", "CHILD": "CHILD", "PARENT": "PARENT"}
    members: list[Row] = []
    authorisations: list[Row] = []
    for member in family:
        is_applicant = member is person
        members.append(
            {
                "case_no": case_no,
                "citizen_id": member["citizen_id"],
                "name": dirt.name(rng, member["name"].strip()),
                "relation": "SELF" if is_applicant else relations.get(member["relation_to_head"], "OTHER"),
                "is_supporter": not is_applicant and member["relation_to_head"] == "CHILD",
            }
        )
        authorisations.append(
            {
                "authorisation_id": f"{case_no}-{len(members)}",
                "case_no": case_no,
                "signer_id": member["citizen_id"],
                "scope": rng.sample(SCOPES, rng.choice((3, 4, 5))),
                "valid_from": accepted_at.date(),
                "valid_to": accepted_at.date() + timedelta(days=180),
            }
        )
    case = {
        "case_no": case_no,
        "kind": kind,
        "district": person["hukou_region"],
        "applicant_id": person["citizen_id"],
        "accepted_at": accepted_at,
        "authorisation_id": f"{case_no}-1",
        "status": "ACCEPTED",
    }
    return {"civil.check_case": [case], "civil.check_member": members, "civil.check_authorisation": authorisations}


def _check_households(city: City) -> None:
    for _ in range(city.count(CHECK_CASES)):
        day = days_ago(city.rng, 1, 1000)
        for feed, rows in check_rows(city, datetime(day.year, day.month, day.day, 3, 0, tzinfo=UTC)).items():
            for row in rows:
                city.put(feed, **row)


def certificate_columns(city: City, type_code: str, holder: tuple[str, str, str], cert_no: str, day: date) -> Row:
    """An electronic certificate's (电子证照) columns; `holder` is type, number and name. Digest and signature are made up."""
    serial = city.numbers.serial("certificate")
    digest = hashlib.sha256(f"{city.seed}:{serial}".encode())
    id_type, number, name = holder
    return {
        "cert_id": str(UUID(bytes=digest.digest()[:16], version=4)),
        "type_code": type_code,
        "cert_no": cert_no,
        "holder_id_type": id_type,
        "holder_id": number,
        "holder_name": name,
        "issuer": "广州市电子证照管理中心",
        "issue_date": day,
        "valid_from": day,
        "valid_to": day + timedelta(days=3650) if city.rng.random() < 0.8 else None,
        "version": 1,
        "items": json.dumps({"姓名": name, "编号": cert_no}, ensure_ascii=False),
        "file_digest": digest.hexdigest(),
        "signature": digest.digest(),
        "status": "VALID",
    }


def _certificates(city: City) -> None:
    rng = city.rng
    for number in range(1, CERTIFICATE_TYPES + 1):
        holder_kind = "PERSON" if number % 3 else "ORGANISATION"
        items = ["姓名", "编号", "有效期"] if holder_kind == "PERSON" else ["名称", "编号", "法定代表人", "有效期"]
        city.put(
            "certs.certificate_type",
            type_code=f"4401{number:04}",
            name="残疾人证" if number == 1 else f"第{number}类电子证照",
            issuer_agency="disabled" if number == 1 else rng.choice(city.agencies),
            holder_kind=holder_kind,
            is_public=number % 5 == 0,
            items=items,
        )
    for card in list(city.rolls["disabled.card"]):  # all disability cards are issued electronically
        holder = ("CITIZEN_ID", card["citizen_id"], card["name"])
        columns = certificate_columns(city, "44010001", holder, card["card_no"], card["issue_date"])
        city.put("certs.certificate", **columns)
    for licence in list(city.rolls["fda.licence"]):
        holder = (licence["holder_id_type"], licence["holder_id"], licence["holder_name"])
        columns = certificate_columns(city, "44010003", holder, licence["licence_no"], licence["issue_date"])
        city.put("certs.certificate", **columns)
