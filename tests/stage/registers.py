"""Registers: rows of the registers of organisations, written into a rehearsal, and what the archive makes of them."""

from __future__ import annotations

import itertools
from typing import Any

from schemas.change import Change
from schemas.expression.identifiers import citizen_check, org_code_check, uscc_check
from tests.stage.rehearsal import Rehearsal, days

ORGANISATION, IDENTIFIER = "base.organisation", "base.organisation_identifier"
CONFLICT, COVERAGE = "base.organisation_conflict", "base.uscc_coverage"

CODE = "71000001" + org_code_check("71000001")
OTHER_CODE = "72000001" + org_code_check("72000001")
REGISTRATION_NO = "440199000000014"


def uscc(org_code: str, authority: str = "91") -> str:
    first = f"{authority}440199{org_code}"
    return first + uscc_check(first)


USCC = uscc(CODE)
OTHER_USCC = uscc(OTHER_CODE)
OWNER = "44019919900101001" + citizen_check("44019919900101001")


def assert_no_overlap(periods: list[dict[str, Any]]) -> None:
    for period, follower in itertools.pairwise(periods):
        assert period["valid_to"] == follower["valid_from"], "periods meet, none overlaps"
        assert period["status"] != follower["status"]
    assert periods[-1]["valid_to"] is None


def enterprise(city: Rehearsal, ent_id: str = "E1", **columns: Any) -> Change:
    given = {
        "name": "广州海珠某某商行",
        "kind": "ENTERPRISE",
        "industry": "F",
        "legal_rep_id": OWNER,
        "reg_region": "440105",
        "established": days("2010-03-01"),
        "status": "ACTIVE",
    }
    return city.insert("aic.enterprise", ent_id=ent_id, **{**given, **columns})


def certificate(city: Rehearsal, org_code: str = CODE, **columns: Any) -> Change:
    given = {"issued_date": days("2010-03-11"), "valid_to": days("2018-03-10"), "status": "VALID"}
    return city.insert("qts.organisation_code", org_code=org_code, **{**given, **columns})


def registration(city: Rehearsal, tax_no: str, office: str = "state_tax", **columns: Any) -> Change:
    given = {"name": "某某", "region": "440105", "registered_date": days("2010-03-21"), "status": "NORMAL"}
    return city.insert(f"{office}.registration", tax_no=tax_no, **{**given, **columns})


def kinds(city: Rehearsal) -> list[str]:
    return sorted(item["kind"] for item in city.queue())


def numbers(city: Rehearsal, org: str = "aic:E1") -> dict[tuple[str, str], tuple[Any, Any]]:
    row = city.rows(ORGANISATION)[org]
    return {(entry["type"], entry["value"]): (entry["valid_from"], entry["valid_to"]) for entry in row["identifiers"]}


def methods(city: Rehearsal, org: str = "aic:E1") -> dict[str, str]:
    return {entry["type"]: entry["match_method"] for entry in city.rows(ORGANISATION)[org]["identifiers"]}


def timeline(city: Rehearsal, org: str = "aic:E1") -> list[tuple[str, int | None]]:
    return [(entry["status"], entry["valid_from"]) for entry in city.rows(ORGANISATION)[org]["status_timeline"]]
