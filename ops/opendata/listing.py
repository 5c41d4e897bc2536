"""Listing: a data set as the catalogue lists it: what it is, its columns by today's contract, and the words by which it is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from ops.opendata.condition import orders
from ops.opendata.refusal import Refusal
from ops.show.pinyin import is_maybe_pinyin, sounds
from schemas.agreement.directory import Directory
from schemas.contract import Field
from schemas.dated.configuration import SHANGHAI
from streams.flows.opendata.catalogue import LISTED, PUBLISHERS, Dataset, Part
from streams.operators.publish import Treatment

_TYPES = {
    Treatment.DAY: "date",
    Treatment.MONTH: "period",
    Treatment.YEAR: "period",
    Treatment.AMOUNT: "decimal",
}
_WORDS = {"int": "integer", "long": "integer", "float": "number", "double": "number", "boolean": "boolean"}
WORDS_MAX = 8
"""How many words of a search count."""


def listed_of(code: str) -> Dataset | Part:
    """The data set of a code. Raises Refusal where the catalogue has none."""
    if (listed := LISTED.get(code)) is None:
        fix = "/datasets lists all, /datasets?q=… those with a word in their title"
        raise Refusal(404, "there is no such data set", why="the catalogue has no set of this code", fix=fix)
    return listed


def fields_of(listed: Dataset | Part, directory: Directory) -> Mapping[str, Field]:
    """The columns of the set's feed by its contract; none while that is not at hand."""
    entry = directory.feeds.get(listed.whole.feed)
    return entry.contract.by_name if entry else {}


def summary(
    listed: Dataset | Part, states: Mapping[str, Mapping[str, Any]], counts: Mapping[str, int]
) -> dict[str, Any]:
    """One line of the catalogue. `states`: rows of `open.profile` by set; `counts`: rows by set."""
    return {
        "dataset": listed.dataset,
        "title": listed.title,
        "field": listed.theme,
        "department": department(listed.agency),
        "rows": counts.get(listed.dataset, 0),
        "last_change": moment(states.get(listed.dataset)),
        "link": f"/datasets/{listed.dataset}",
    }


def description(listed: Dataset | Part, fields: Mapping[str, Field]) -> str:
    """What the set holds, in a few sentences of Chinese: made from the catalogue, so that it cannot differ from what is published."""
    names = [fields[name].doc.split("|")[0] if name in fields else name for name in listed.whole.table.columns]
    text = f"{PUBLISHERS[listed.agency].name}开放的{listed.title}。字段：{'、'.join(names)}。"
    if listed.whole is not listed:
        text += f"是“{listed.whole.title}”的一部分，内容与之一致。"
    if listed.whole.k > 1:
        text += f"按分组公布，少于 {listed.whole.k} 条的分组及其变化不公布。"
    return text


def department(code: str) -> dict[str, str]:
    """A department: its code, name and level."""
    publisher = PUBLISHERS[code]
    return {"department": code, "name": publisher.name, "level": publisher.level}


def columns_of(listed: Dataset | Part, fields: Mapping[str, Field]) -> list[dict[str, Any]]:
    """The columns of a set, with their names and the meaning of their values."""
    ordered = orders(listed, fields)
    return [
        {
            "column": name,
            "title": fields[name].doc.split("|")[0] if name in fields else None,
            "shown": treatment.value,
            "values": fields[name].gov.get("values") if name in fields and treatment is Treatment.FULL else None,
            "unit": fields[name].gov.get("unit") if name in fields else None,
            "type": _type(treatment, fields.get(name)),
            "is_ordered": name in ordered,
            "is_grouped_by": name in listed.whole.groups,
            "is_counted": name in listed.whole.profile,
            "element": listed.whole.elements.get(name),
        }
        for name, treatment in listed.whole.table.columns.items()
    ]


def _type(treatment: Treatment, field: Field | None) -> str:
    """How a column's values are to be read: `period` is a year or a month, `text` also what is no single value."""
    if treatment in _TYPES:
        return _TYPES[treatment]
    if treatment is not Treatment.FULL or field is None or field.logical_type is not None:
        return "text"
    words = {_WORDS.get(branch, "text") if isinstance(branch, str) else "text" for branch in field.branches}
    return words.pop() if len(words) == 1 else "text"


def is_found(listed: Dataset | Part, words: Sequence[str]) -> bool:
    """Whether every word, or the sound of it (拼音), is in the set's code, title, field or department."""
    return all(word in _text(listed.dataset) or _sounds(listed, word) for word in words[:WORDS_MAX])


@cache
def _text(code: str) -> str:
    listed = LISTED[code]
    return f"{code} {listed.title} {listed.theme} {PUBLISHERS[listed.agency].name}".casefold()


def _sounds(listed: Dataset | Part, word: str) -> bool:
    if not is_maybe_pinyin(word):
        return False
    wanted = word.replace("'", "")
    return any(wanted in sounds(name) for name in (listed.title, listed.theme, PUBLISHERS[listed.agency].name))


def map_of(listed: Dataset | Part) -> list[str]:
    """The links of a set that lead to a map."""
    return ["heat"] if listed.whole is listed and listed.whole.heat is not None else []


def moment(state: Mapping[str, Any] | None) -> str | None:
    """When a set changed last."""
    return None if state is None else time_of(state["last_change"])


def time_of(micros: int) -> str:
    """A moment in microseconds as the city writes it."""
    return datetime.fromtimestamp(micros / 1_000_000, SHANGHAI).isoformat()
