"""One column, looked at for itself: whether sources can fill its type, and whether it seems to hold personal data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from schemas.contract import Field
from schemas.wire.compatibility import describe
from schemas.wire.schema import LOGICAL_BASES, PRIMITIVES, AvroSchema, kind_of

CARRIED = frozenset({"decimal", "uuid", "date", "time-micros", "timestamp-micros", "local-timestamp-micros"})
"""Logical types that sources fill and sinks understand."""
INTERVAL = [("months", "int"), ("days", "int"), ("micros", "long")]
"""The fields of the one record that a table's column becomes."""

_PERSONAL_NAMES = re.compile(
    r"(^|_)(citizen_id|id_no|id_card|idcard|id_number|identity_no|passport|mobile|cellphone|phone|telephone|tel|email"
    r"|address|addr|birth_date|birthday|dob|bank_card|bank_account|(real|full|given|family|person)_name|name|surname)($|_)"
)
_PERSONAL_WORDS = re.compile(
    "姓名|身份证|公民身份|证件号|手机|电话|住址|地址|邮箱|出生日期|护照|银行卡|银行账|户籍地|配偶"
)
_CHINESE = re.compile("[\u4e00-\u9fff]")


def looks_personal(field: Field) -> bool:
    """Whether a column seems to hold personal data, by its Chinese name where it has one, otherwise by its own."""
    return seems_personal(field.doc, field.column)


def seems_personal(doc: str, name: str) -> bool:
    """The same of a doc and a name."""
    words = doc.split("|", 1)[0]
    if _CHINESE.search(words):
        return bool(_PERSONAL_WORDS.search(words))
    return bool(_PERSONAL_NAMES.search(name.lower())) or bool(_PERSONAL_WORDS.search(name))


def unmapped(branch: AvroSchema) -> tuple[str, str] | None:
    """Why no source fills this type, and what to write instead; None when one does."""
    kind = kind_of(branch)
    logical = branch.get("logicalType") if isinstance(branch, Mapping) else None
    if kind in PRIMITIVES and (logical is None or logical in CARRIED):
        return None
    if logical is not None:
        hint = get_close_matches(str(logical), CARRIED, 1)
        known = "no source fills it" if logical in LOGICAL_BASES else "readers would ignore it"
        return f"logical type {logical} on {kind}: {known}", f"use {hint[0] if hint else ', '.join(sorted(CARRIED))}"
    return _unmapped_complex(branch, kind)


def _unmapped_complex(branch: AvroSchema, kind: str) -> tuple[str, str] | None:
    match kind:
        case "enum":
            fix = 'write "type": "string" and "gov": {"values": {"<code>": "<meaning>", …}}'
            return "is an Avro enum, which stock readers cannot read as text and each new symbol breaks", fix
        case "array":
            items = branch["items"]
            inner = [item for item in (items if isinstance(items, list) else [items]) if item != "null"]
            if len(inner) == 1 and kind_of(inner[0]) != "array":
                return unmapped(inner[0])
            fix = 'write {"type": "array", "items": ["null", "string"]}'
            return "an array holds one type, or null and one type", fix
        case "record":
            if [(field["name"], field["type"]) for field in branch["fields"]] == INTERVAL:
                return None
            fix = "use an interval (months int, days int, micros long), or string"
            return "is a record, which no source fills", fix
        case _:
            return f"no source fills {describe(branch)}", "use string, which carries the source's own text"
