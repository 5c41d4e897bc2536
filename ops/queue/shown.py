"""Shown: the queues by cause, the items of a cause, and one item with what may be decided of it; no value unless it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.audit.refused import note, refusals_told
from ops.command.terminal import moment
from ops.queue.items import NAME_DIGITS, SETTLED, STATES, Item, queues
from ops.queue.wanted import FORMS
from ops.settings import Settings
from schemas.decision import UNDO

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What one flow's queue holds of one cause: items by state, and since when the oldest of them that is not settled is there."""

    flow: str
    cause: str
    counts: Mapping[str, int]
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ByCause:
    """All queues by cause, those with the most to do first."""

    causes: Sequence[Cause]

    def to_json(self) -> list[dict[str, Any]]:
        """For scripts."""
        return [
            {
                "flow": each.flow,
                "cause": each.cause,
                **{state.replace(" ", "_"): each.counts.get(state, 0) for state in STATES},
                "since": each.since.isoformat() if each.since else None,
            }
            for each in self.causes
        ]

    def lines(self) -> list[str]:
        """For people."""
        told = [
            f"{_to_do(each.counts):>9,}  {each.flow}  {each.cause}  {_by_state(each.counts)}"
            + (f"  since {moment(each.since)}" if each.since else "")
            for each in self.causes
        ]
        waiting = sum(_to_do(each.counts) for each in self.causes)
        return [*told, f"{waiting:,} items to decide, by {len(self.causes)} causes: `mesh queue list --cause <cause>`"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Items one by one, the oldest first; `total` of them there are."""

    items: Sequence[Item]
    total: int

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"total": self.total, "items": [_summary(item) for item in self.items]}

    def lines(self) -> list[str]:
        """For people."""
        told = [
            "  ".join(
                filter(
                    None,
                    (
                        item.name[:NAME_DIGITS],
                        item.flow.name,
                        item.cause,
                        item.state,
                        _since(item),
                        item.row["decision"],
                    ),
                )
            )
            for item in self.items
        ]
        more = f" of {self.total:,}; --limit 0 for all" if self.total > len(self.items) else ""
        return [*told, f"{len(self.items):,} items{more}: `mesh queue show <item>`"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One item. Subjects and values only where it is revealed."""

    item: Item
    is_revealed: bool

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        item, row = self.item, self.item.row
        claims = [
            {"number": number, "feed": claim["feed"], "position": claim["position"]} | self._value(claim)
            for number, claim in enumerate(row["claims"], 1)
        ]
        told = {**_summary(item), "detail": row["detail"], "claims": claims, "may_be": _forms(item)}
        if (made := item.decision) is not None and made.outcome != UNDO:
            told |= {"made_by": made.by, "made_at": _at(made.at).isoformat(), "reason": made.reason}
        return told | {"subjects": list(row["subject_keys"])} if self.is_revealed else told

    def _value(self, claim: Mapping[str, Any]) -> dict[str, Any]:
        return {"value": claim["value"]} if self.is_revealed else {}

    def lines(self) -> list[str]:
        """For people."""
        item, row, made = self.item, self.item.row, self.item.decision
        name = item.name[:NAME_DIGITS]
        told = [f"{name}  {item.flow.name}  {item.cause}  {item.state}, since {_since(item)}"]
        if row["detail"]:
            told.append(f"  {row['detail']}")
        for number, claim in enumerate(row["claims"], 1):
            value = f"  {claim['value']}" if self.is_revealed and claim["value"] is not None else ""
            told.append(f"  {number}  {claim['feed']}  {claim['position']}{value}")
        if self.is_revealed:
            told.append(f"  of {', '.join(row['subject_keys']) or 'nobody known'}")
        if made is not None and made.outcome != UNDO:
            told.append(
                f"  decided: {row['decision'] or made.says}, by {made.by}, {moment(_at(made.at))}: {made.reason}"
            )
        forms = _forms(item)
        told += [f"  mesh queue decide {name} {form} --reason <why>" for form in forms]
        return told if forms else [*told, "  nothing can be decided of it"]


def by_cause(settings: Settings, flow: str = "", subject: str = "") -> ByCause:
    """Count items by flow and cause. Raises Misconfigured for a flow that is none."""
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in queues(settings, flow).chosen(flow, subject=subject):
        groups.setdefault((item.flow.name, item.cause), []).append(item)
    causes = [
        Cause(flow=name, cause=cause, counts=Counter(item.state for item in items), since=_oldest(items))
        for (name, cause), items in groups.items()
    ]
    return ByCause(causes=sorted(causes, key=lambda each: (-_to_do(each.counts), each.flow, each.cause)))


def listed(settings: Settings, cause: str, flow: str = "", subject: str = "", limit: int = 0) -> Listed:
    """The items of a cause, or of a subject where none is given. Raises Misconfigured for a cause or flow that has none."""
    found = sorted(
        queues(settings, flow).chosen(flow, cause, subject), key=lambda item: (item.row["opened_at"], item.name)
    )
    return Listed(items=found[: limit or None], total=len(found))


@refusals_told("queue show")
def shown(settings: Settings, name: str, *, reveal: bool, flow: str = "") -> Shown:
    """One item by name. Who it is about is told where that is asked for, which is in the audit. Raises Misconfigured."""
    item = queues(settings, flow).item(name)
    if reveal:
        note(settings, "queue revealed", f"{item.flow.name} {item.cause}", items=[item.name[:NAME_DIGITS]])
    return Shown(item=item, is_revealed=reveal)


def _summary(item: Item) -> dict[str, Any]:
    return {
        "item": item.name[:NAME_DIGITS],
        "flow": item.flow.name,
        "cause": item.cause,
        "state": item.state,
        "since": _at(item.row["opened_at"]).isoformat(),
        "decision": item.row["decision"],
        "decided_by": item.row["decided_by"],
    }


def _forms(item: Item) -> list[str]:
    return [FORMS.get(outcome, outcome) for outcome in item.outcomes]


def _to_do(counts: Mapping[str, int]) -> int:
    return sum(count for state, count in counts.items() if state != SETTLED)


def _by_state(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts.get(state))


def _oldest(items: Sequence[Item]) -> datetime | None:
    return min((_at(item.row["opened_at"]) for item in items if item.state != SETTLED), default=None)


def _since(item: Item) -> str:
    return moment(_at(item.row["opened_at"]))


def _at(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
