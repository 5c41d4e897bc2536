"""Certificates (电子证照): the register of 138 types, what is issued, how it is checked and used."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from datetime import date, datetime, timedelta
from uuid import UUID

from ops.city.chance import OPENING, moment_of
from ops.city.city import City
from ops.city.flow_data import table
from ops.city.people.roll import Row

CERTIFICATE, CHECK, USE = "certs.certificate", "certs.certificate_check", "certs.certificate_use"
DISABILITY_TYPE = "44010001"
LICENCE_TYPES = {"FOOD_SERVICE": "44010003", "FOOD_PRODUCTION": "44010006", "DRUG": "44010009", "DEVICE": "44010015"}
TYPES = {line["type_code"]: line for line in table("certificate", "types.csv")}
"""The register of types (证照目录) as the certificate centre has it; items are joined by semicolons."""
PERSON_TYPES = tuple(
    code for code, line in TYPES.items() if line["holder_kind"] == "PERSON" and not line["number_rule"]
)
USES = 180_000
"""Uses of the real city in October 2016, the first month."""
LINES: defaultdict[str, list[tuple[str, str, list[str], bool]]] = defaultdict(list)
for _line in table("certificate", "extracts.csv"):
    LINES[_line["type_code"]].append(
        (_line["matter_code"], _line["agency"], _line["items"].split(";"), _line["needs_holder"] == "true")
    )
"""Type to what may be extracted of it: matter, agency, items, and whether the holder has to be there."""
PURPOSES = ("办理本事项", "资格核验", "年度审核")


def issue(city: City) -> None:
    """Write the register of types, and issue, check and use certificates before the opening day."""
    rng = city.rng
    for line in TYPES.values():
        columns = {name: line[name] for name in ("type_code", "name", "issuer_agency", "holder_kind")}
        is_public, items = line["is_public"] == "true", line["items"].split(";")
        city.put("certs.certificate_type", **columns, is_public=is_public, items=items)
    for card in list(city.rolls["disabled.card"]):  # all disability cards are issued electronically
        holder = ("CITIZEN_ID", card["citizen_id"], card["name"])
        _put(city, certificate_columns(city, DISABILITY_TYPE, holder, card["card_no"], card["issue_date"]))
    for licence in list(city.rolls["fda.licence"]):
        holder = (licence["holder_id_type"], licence["holder_id"], licence["holder_name"])
        type_code = LICENCE_TYPES[licence["licence_kind"]]
        _put(city, certificate_columns(city, type_code, holder, licence["licence_no"], licence["issue_date"]))
    for _ in range(city.count(USES)):
        certificate = city.rolls[CERTIFICATE].pick(rng)
        if certificate is not None:
            day = OPENING - timedelta(days=1 + int(rng.random() * 28))
            if certificate["issue_date"] < day:
                city.put(USE, **use_columns(city, certificate, moment_of(rng, day)))


def _put(city: City, columns: Row) -> None:
    rng = city.rng
    choice = rng.random()
    if choice < 0.05:
        columns["status"] = "REVOKED" if choice < 0.03 else "SUSPENDED"
        columns["status_date"] = OPENING - timedelta(days=1 + int(rng.random() * 20))
    elif columns["valid_to"] and columns["valid_to"] < OPENING:
        columns["status"], columns["status_date"] = "EXPIRED", columns["valid_to"] + timedelta(days=1)
    certificate = city.put(CERTIFICATE, **columns)
    if rng.random() < 0.6:
        city.put(CHECK, **check_columns(city, certificate, moment_of(rng, OPENING - timedelta(days=2))))


def certificate_columns(city: City, type_code: str, holder: tuple[str, str, str], cert_no: str, day: date) -> Row:
    """A certificate's columns; `holder` is type, number and name. Digest and signature are made up."""
    serial = city.numbers.serial("certificate")
    digest = hashlib.sha256(f"{city.seed}:{serial}".encode())
    id_type, number, name = holder
    until = day + timedelta(days=3650) if city.rng.random() < 0.8 else None
    values = {"姓名": name, "名称": name, "编号": cert_no, "有效期": until.isoformat() if until else "长期"}
    face = {item: values.get(item, "（略）") for item in TYPES[type_code]["items"].split(";")}
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
        "valid_to": until,
        "version": 1,
        "items": json.dumps(face, ensure_ascii=False),
        "file_digest": digest.hexdigest(),
        "signature": digest.digest(),
        "status": "VALID",
    }


def check_columns(city: City, certificate: Row, checked: datetime) -> Row:
    """A check of a certificate's signature (签章核验); a forgery is very seldom."""
    return {
        "cert_id": certificate["cert_id"],
        "version": certificate["version"],
        "file_digest": certificate["file_digest"],
        "result": "GENUINE" if city.rng.random() < 0.995 else "FORGED",
        "checked_at": checked,
    }


def use_columns(city: City, certificate: Row, used: datetime) -> Row:
    """A use (用证): a counter verifies or extracts what it may, and seldom takes more, or leaves the holder out."""
    rng = city.rng
    lines = LINES.get(certificate["type_code"], ())
    has_ended = certificate["status"] != "VALID"
    is_accepted = not has_ended or rng.random() < 0.05  # the counter did not know yet
    if lines:
        matter, agency, granted, needs_holder = rng.choice(lines)
        items = granted if rng.random() < 0.98 else [*granted, "住址"]
        is_present = rng.random() < (0.98 if needs_holder else 0.4)
    else:
        matter, agency, items, is_present = "440100-ZH-01", rng.choice(("civil", "hrss", "police")), [], True
    return {
        "use_id": f"YZ{city.numbers.serial('use'):09}",
        "cert_id": certificate["cert_id"],
        "verifier_agency": agency,
        "officer": f"{agency}-{int(rng.random() * 40):03}" if rng.random() < 0.995 else "",
        "matter_code": matter,
        "purpose": rng.choice(PURPOSES),
        "used_at": used,
        "items_disclosed": list(items) if is_accepted else [],
        "holder_present": is_present,
        "result": "ACCEPTED" if is_accepted else "REFUSED",
    }
