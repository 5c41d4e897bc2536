"""Entries: what of a record goes into the index: of a case, of an item; nothing that a sample would not show."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ops.cases.board import Board
from ops.cases.index import NEVER, Entry
from ops.command.terminal import moment
from ops.queue.items import SETTLED, UNDER_WAY, Item
from ops.show.sample import hidden_of
from ops.show.tail import HIDDEN, readable
from ops.trust.subject_key import SubjectKey
from schemas.agreement.directory import Directory
from schemas.contract import Contract, Field
from schemas.decision import Decision
from streams.operators.flow import Flow, Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MICROS = 86_400_000_000
_SHANGHAI_MICROS = 8 * 3_600_000_000
CHARACTERS_MAX = 60


def sought(key: SubjectKey, feed: str, given: Any) -> str:
    """The hash by which a case of a feed is looked for."""
    return key.hash(feed, "sought", str(given).strip())


def board_entry(board: Board, contract: Contract, key: SubjectKey, name: str, row: Row) -> Entry:
    """A case of a board: the state, the moments, and the columns that are shown, in their order."""
    hidden = hidden_of(contract)
    state = "" if row[board.state] is None else str(row[board.state])
    since = _micros(contract.by_name[board.since], row[board.since]) if board.since else None
    due = _micros(contract.by_name[board.due], row[board.due], is_end=True) if board.due else None
    is_waiting = state in board.waits
    rank = due if is_waiting and due is not None else NEVER - (since or 0)
    shown = [_shown(contract.by_name[column], row[column], hidden) for column in board.columns]
    return Entry(
        name=name,
        state=state,
        waits=is_waiting,
        since=since,
        due=due,
        rank=rank,
        content={"shown": shown},
        sought=[sought(key, board.feed, row[column]) for column in board.find if row[column] is not None],
    )


def item_entry(item: Item, key: SubjectKey) -> Entry:
    """An item of a queue: the words of its record that name nobody, and which rows it cites."""
    row = item.row
    content = {
        **{name: row[name] for name in ("detail", "opened_at", "state", "decided_by", "decision")},
        "basis": item.basis,
        "outcomes": list(item.outcomes),
        "claims": [[claim["feed"], claim["position"]] for claim in row["claims"]],
    }
    subjects = {item.subject, *row["subject_keys"]} - {""}
    names = {*subjects, *(each.partition(":")[2] for each in subjects)} - {""}
    return Entry(
        name=item.name,
        cause=item.cause,
        state=item.state,
        waits=waits(item.state),
        since=row["opened_at"],
        rank=row["opened_at"],
        content=content,
        sought=[sought(key, item.flow.queue, name) for name in names],
    )


def waits(state: str) -> bool:
    """Whether an item in this state wants somebody."""
    return state not in {SETTLED, UNDER_WAY}


def item_of(flow: Flow, entry: Entry, decided: Mapping[str, Any] | None) -> Item:
    """An item as the index knows it: without subject and values."""
    told = entry.content
    row = {
        "conflict_id": "",
        "kind": entry.cause,
        "subject_keys": [],
        "claims": [{"feed": feed, "position": position, "value": None} for feed, position in told["claims"]],
        **{name: told[name] for name in ("detail", "opened_at", "state", "decided_by", "decision")},
    }
    made = None if decided is None else Decision(flow=flow.name, subject="", item="", **decided)
    return Item(name=entry.name, flow=flow, subject="", basis=told["basis"], row=row, decision=made)


def decided_content(decision: Decision) -> dict[str, Any]:
    """Of a decision what may be kept: not whom it is about, and no value."""
    names = ("outcome", "says", "by", "at", "opened_at", "basis", "reason", "until")
    return {name: getattr(decision, name) for name in names}


def with_board(board: Board, directory: Directory) -> Contract | None:
    """The contract of a board's feed, where it is there and has the columns that the board names."""
    entry = directory.feeds.get(board.feed)
    return entry.contract if entry is not None and not board.missing(entry.contract) else None


def at(micros: int | None) -> datetime | None:
    """A moment."""
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def _micros(field: Field, value: Any, *, is_end: bool = False) -> int | None:
    """A value of a time or date as a moment; a date is the first moment of that day in Shanghai, or its last."""
    if value is None:
        return None
    match field.logical_type:
        case "date":
            return (value + is_end) * _DAY_MICROS - _SHANGHAI_MICROS - is_end
        case "timestamp-millis":
            return value * 1_000
        case _:
            return value


def _shown(field: Field, value: Any, hidden: frozenset[str]) -> Any:
    """A value as a page has it: text, a whole number, yes or no, or nothing."""
    if value is None:
        return None
    if field.name in hidden:
        return HIDDEN
    if isinstance(value, bool) or (isinstance(value, int) and field.logical_type is None):
        return value
    if isinstance(value, int) and (field.logical_type or "").startswith("timestamp"):
        instant = at(_micros(field, value))
        return moment(instant) if instant else None
    told = readable(field, value)
    if field.logical_type == "decimal":
        return f"{Decimal(told):,}"
    text = "、".join(map(str, told)) if isinstance(told, list) else str(told)
    return text if len(text) <= CHARACTERS_MAX else f"{text[: CHARACTERS_MAX - 1]}…"
