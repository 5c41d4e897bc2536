"""Core metadata (核心元数据) of a resource, HANDBOOK A9: what a feed is called, whose it is, what it holds and on what terms.

Only the sharing class must be written by a person, with its basis where it restricts: what nobody decided is not published. All else
follows from what stands anyway, unless the contract's gov says it better:

| core metadata                       | written in                        | else                                                  |
|-------------------------------------|-----------------------------------|-------------------------------------------------------|
| classification (分类), code (代码)  | agency.yaml `classification`, gov.code | from names (code.py)                             |
| name (名称)                         | gov.resource                      | the record's doc, the feed's name                     |
| provider and its code (提供方)      | agency.yaml                       |                                                       |
| abstract (摘要)                     | gov.abstract                      | the note in the doc, or provider, name, columns |
| format (格式)                       | gov.format                        | what every feed is                                    |
| items with name and type (信息项)   | the fields                        |                                                       |
| share type (共享类型)               | gov.class                         | none: cannot be published                             |
| share condition (共享条件)          | gov.condition                     | the legal basis, an approval; none for UNCONDITIONAL  |
| share method (共享方式)             | gov.method                        | what every feed is                                    |
| open attribute (开放属性)           | gov.open                          | NOT_OPEN                                              |
| update cycle (更新周期)             | gov.updateCycle                   | REALTIME                                              |
| publish date (发布日期)             | -                                 | the day it was onboarded first                        |
| related codes (关联资源代码)        | gov.related                       | none                                                  |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from schemas.agreement.agency import Agency
from schemas.contract import Contract, Field
from schemas.resource.code import classification_of, code_of, code_rules

FORMAT = "Avro 数据流 (Apache Kafka)"
METHOD = "授权后推送：数据库、接口、文件或数据流"
ABSTRACT_COLUMNS = 5


class Item(NamedTuple):
    """One item (信息项): the column, its Chinese name, its type."""

    column: str
    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """The core metadata of one feed. `published_on` is a date in Asia/Shanghai, empty for what has not run yet."""

    code: str
    classification: str
    name: str
    provider: str
    provider_code: str
    abstract: str
    format: str
    items: Sequence[Item]
    share_type: str
    share_condition: str
    share_method: str
    open_attribute: str
    update_cycle: str
    published_on: str
    related: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {**asdict(self), "items": [item._asdict() for item in self.items]}


def resource_of(contract: Contract, agency: Agency, published_on: str = "") -> Resource:
    """The core metadata of a contract; `share_type` is empty where it says none."""
    gov, code = contract.gov, code_of(contract, agency)
    name = _text(gov, "resource") or contract.doc or contract.feed
    return Resource(
        code=code,
        classification=f"{classification_of(agency, is_flow=agency.has_flow(contract.source))} {code_rules().title(code)}",
        name=name,
        provider=agency.name,
        provider_code=agency.agency,
        abstract=_text(gov, "abstract") or _abstract(contract, agency, name),
        format=_text(gov, "format") or FORMAT,
        items=[Item(field.column, _named(field), _type(field)) for field in contract.fields],
        share_type=_text(gov, "class"),
        share_condition=_text(gov, "condition") or _condition(gov),
        share_method=_text(gov, "method") or METHOD,
        open_attribute=_text(gov, "open") or "NOT_OPEN",
        update_cycle=_text(gov, "updateCycle") or "REALTIME",
        published_on=published_on,
        related=[str(each) for each in gov.get("related") or ()],
    )


def _text(gov: Mapping[str, Any], name: str) -> str:
    value = gov.get(name)
    return value.strip() if isinstance(value, str) else ""


def _abstract(contract: Contract, agency: Agency, name: str) -> str:
    note = str(contract.record.get("doc", "")).partition("|")[2].strip()
    shown = "、".join(_named(field) for field in contract.fields[:ABSTRACT_COLUMNS])
    return note or f"{agency.name}提供的{name}，含{shown}等 {len(contract.fields)} 项"


def _condition(gov: Mapping[str, Any]) -> str:
    kind, basis = _text(gov, "class"), _text(gov, "basis")
    if kind == "CONDITIONAL":
        return f"须经合规审核与提供方同意；依据：{basis}"
    return f"不予共享；依据：{basis}" if kind == "NOT_SHARED" else "无"


def _named(field: Field) -> str:
    return field.doc.partition("|")[0].strip() or field.column


def _type(field: Field) -> str:
    typed = field.branches[0]
    return str(typed.get("logicalType") or typed["type"]) if isinstance(typed, Mapping) else str(typed)
