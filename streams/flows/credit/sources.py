"""Which feeds are credit records and which are registers: configuration, read once (feeds.yaml, registers.yaml)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.dated.configuration import Dated, dated
from schemas.errors import Misconfigured
from streams.operators.flow import Row

HERE = Path(__file__).parent
KINDS = ("ENTERPRISE", "PERSON", "INSTITUTION", "SOCIAL_ORGANISATION", "GOVERNMENT")
"""The five databases (五库): a subject is of exactly one kind."""

VIEWS = ("public", "professional", "government")
"""The three systems (三系统), narrowest first."""

_COLUMNS = ("name", "title", "detail", "amount", "happened", "until", "ended")

FEEDS = dated(HERE / "feeds.yaml", ["feed"])
REGISTERS = dated(HERE / "registers.yaml", ["feed"])


def _check_views(feeds: Dated) -> None:
    for entry in feeds.entries:
        views = entry.values.get("views")
        if not isinstance(views, list) or tuple(views) != VIEWS[len(VIEWS) - len(views) :]:
            raise Misconfigured(
                feeds.name,
                f"the views of {entry.values['feed']} are not nested",
                fix="name government; professional only with it; public only with both, in the order public … government",
            )


_check_views(FEEDS)


def choice(rule: Mapping[str, Any], row: Row) -> str | None:
    """What a rule `{always}` or `{column, values, otherwise}` makes of a row."""
    if "always" in rule:
        return rule["always"]
    value = row.get(rule["column"])
    if "values" not in rule:
        return value
    return rule["values"].get(value, rule.get("otherwise"))


def is_live(entry: Mapping[str, Any], row: Row) -> bool:
    """Whether a row is in force by its own status column, if the configuration names one."""
    rule = entry.get("live")
    return rule is None or row.get(rule["column"]) in rule["values"]


def numbers(entry: Mapping[str, Any], kind: str | None) -> Sequence[str]:
    """The columns that may hold the subject's number, best first."""
    return entry.get("person", entry["ids"]) if kind == "PERSON" else entry["ids"]


def value(entry: Mapping[str, Any], name: str, row: Row) -> Any:
    """One part of a record, taken from the column that the configuration names."""
    column = entry.get(name)
    return None if column is None else row.get(column)


def feed_columns(feed: str) -> list[str]:
    """All columns that any version of a feed's entry needs: nothing more travels to a record."""
    found: dict[str, None] = {}
    for entry in FEEDS.entries:
        if entry.values["feed"] == feed:
            for column in _entry_columns(entry.values):
                found.setdefault(column)
    return list(found)


def _entry_columns(entry: Mapping[str, Any]) -> list[str]:
    rules = [entry[name] for name in ("kind", "list", "live") if isinstance(entry.get(name), Mapping)]
    return [
        *entry["ids"],
        *entry.get("person", ()),
        *(entry[name] for name in _COLUMNS if entry.get(name)),
        *(rule["column"] for rule in rules if "column" in rule),
    ]


def register_columns(entry: Mapping[str, Any]) -> list[str]:
    """The columns of a register that matching needs."""
    rules = [entry[name] for name in ("kind", "live") if name in entry]
    columns = [entry["id"], entry["name"], *entry["numbers"], *(rule["column"] for rule in rules if "column" in rule)]
    return list(dict.fromkeys(columns))
