"""The certificate types (证照目录, 138 of them, types.csv), what may be extracted of each (extracts.csv), and limits (rules.yaml)."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.dated.configuration import dated
from schemas.errors import Misconfigured
from streams.operators.flow import Outcome, Row, Subject, queue_item

HERE = Path(__file__).parent
TYPE_FEED = "certs.certificate_type"
REGISTER = "certificate.type_register"
QUEUE = "certificate.queue"
EXTRACTS = dated(HERE / "extracts.csv", ["matter_code", "type_code", "agency"])
RULES = dated(HERE / "rules.yaml")


@dataclass(frozen=True, slots=True)
class CertificateType:
    """One line of the register. `items` are what the face of the certificate holds; `number_rule` checks its number."""

    type_code: str
    name: str
    issuer_agency: str
    holder_kind: str
    is_public: bool
    items: tuple[str, ...]
    number_rule: str | None


def read_types(path: Path) -> Mapping[str, CertificateType]:
    """The register by type code. Raises Misconfigured for a code that occurs twice or a line without a name or items."""
    found: dict[str, CertificateType] = {}
    for line in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        code = line["type_code"]
        if code in found or not line["name"] or not line["items"]:
            fix = "give each type one line with its code, name and items"
            raise Misconfigured(f"configuration certificate/{path.name}", f"type {code} is no good line", fix=fix)
        found[code] = CertificateType(
            type_code=code,
            name=line["name"],
            issuer_agency=line["issuer_agency"],
            holder_kind=line["holder_kind"],
            is_public=line["is_public"] == "true",
            items=tuple(line["items"].split(";")),
            number_rule=line["number_rule"] or None,
        )
    return found


TYPES = read_types(HERE / "types.csv")


@dataclass(frozen=True, slots=True)
class Extract:
    """What one agency may take of a certificate in one matter; `needs_holder`: only with the holder at the counter."""

    items: frozenset[str] = frozenset()
    needs_holder: bool = False


def extract_of(matter_code: str, type_code: str, agency: str, moment: int) -> Extract:
    """The extract that is granted at a moment; without a line, nothing (invariant 6)."""
    line = EXTRACTS.find(moment, matter_code, type_code, agency)
    if line is None or type_code not in TYPES:
        return Extract()
    items = frozenset(line["items"].split(";")) & frozenset(TYPES[type_code].items)
    return Extract(items, line["needs_holder"] == "true")


def extract(items: str, granted: Collection[str]) -> dict[str, str]:
    """The granted items (数据项) of a certificate's face, `items` being its JSON object; never another one."""
    face = json.loads(items)
    return {name: value for name, value in face.items() if name in granted}


def fold_register(subject: Subject) -> Outcome:
    """The whole register, and what of the certificate centre's own table is not in it or differs from it."""
    outcome = Outcome()
    facts = {(fact.row or {})["type_code"]: fact for fact in subject.of(TYPE_FEED)}
    for code, entry in TYPES.items():
        row = {
            "type_code": code,
            "name": entry.name,
            "issuer_agency": entry.issuer_agency,
            "holder_kind": entry.holder_kind,
            "is_public": entry.is_public,
            "items": list(entry.items),
            "in_source": code in facts,
        }
        outcome.publish(REGISTER, row)
    for code, fact in sorted(facts.items()):
        kind = (
            "TYPE_UNKNOWN" if code not in TYPES else "TYPE_DIFFERS" if _differs(TYPES[code], fact.row or {}) else None
        )
        if kind:
            item = queue_item(f"type:{code}", kind, [f"type:{code}"], [fact], opened_at=fact.event_at)
            outcome.publish(QUEUE, item)
    return outcome


def _differs(entry: CertificateType, row: Row) -> bool:
    return (entry.holder_kind, entry.is_public, list(entry.items)) != (
        row["holder_kind"],
        row["is_public"],
        row["items"],
    )
