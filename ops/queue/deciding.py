"""Deciding: an officer's word on one item, on several, or on all of one cause, and its undoing; each with its line of the audit.

Decisions and the line that says so are one transaction a run of items; killed half way, the same command goes on with what is left.
The flows take a decision within seconds. The line names the items by their names, which show nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told, without_numbers
from ops.queue.items import NAME_DIGITS, SETTLED, Item, Queues, queues
from ops.queue.wanted import Unfit, Wanted
from ops.settings import Settings
from ops.trust.audit import audit
from schemas.decision import UNDO, Decision
from schemas.errors import Misconfigured
from schemas.feed import DECISIONS
from schemas.log.control.records import publish

RUN_ITEMS = 500
NAMED_MAX = 1_000
"""So many items are told by name; of more there are counts."""
REASON_CHARACTERS_MAX = 200
WITHIN_SECONDS = 60.0

_Made = tuple[str, str, Decision]
"""An item's name and cause, and what is decided of it."""
Progress = Callable[[int, int], None]
"""Told how many items are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which items: by name, or all of a cause that wait, in one flow or in all.

    `seen`: whoever decides has looked at these, by whole name, as they stood on this (`Item.basis`); no other is decided.
    """

    names: Sequence[str] = ()
    cause: str = ""
    flow: str = ""
    seen: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """For the audit."""
        return self.cause or ", ".join(self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Officer:
    """Who decides, and why."""

    by: str
    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip() or len(self.reason) > REASON_CHARACTERS_MAX or not self.reason.isprintable():
            fix = f"say why in one line of {REASON_CHARACTERS_MAX} characters at most, without a personal value"
            raise Misconfigured("--reason", "is no short line", fix=fix)

    @property
    def told(self) -> str:
        """The reason as it is kept: whatever was typed, no number of a person is in it."""
        return without_numbers(self.reason.strip())


@dataclass(slots=True, kw_only=True)
class Decided:
    """What was decided, or would be: how many items by flow and cause, the first of them by name, and why others were not."""

    is_dry: bool
    says: str = ""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    names: list[str] = field(default_factory=list[str])
    bases: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """All of them by whole name, with what each stands on: what `Chosen.seen` is made of."""
    already: int = 0
    left: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """Why items were left as they are, and what to do."""

    def to_json(self) -> Mapping[str, Any]:
        """For scripts."""
        return {
            "dry_run": self.is_dry,
            "decision": self.says,
            "decided": [{"flow": flow, "cause": cause, "items": n} for (flow, cause), n in sorted(self.counts.items())],
            "already": self.already,
            "left": [{"why": why, "fix": fix, "items": n} for (why, fix), n in sorted(self.left.items())],
            "items": self.names[:NAMED_MAX],
        }

    def lines(self) -> list[str]:
        """For people."""
        verb = "would be" if self.is_dry else "are"
        told = [
            f"{count:>9,}  {flow}  {cause}  {verb} decided: {self.says}"
            for (flow, cause), count in sorted(self.counts.items())
        ]
        if self.already:
            told.append(f"{self.already:>9,}  are so already")
        told += [f"{count:>9,}  left as they are: {why}; {fix}" for (why, fix), count in sorted(self.left.items())]
        if self.counts and not self.is_dry:
            told.append("the flows take it within seconds; `mesh queue undo` takes it back")
        return told or ["nothing to decide"]


@refusals_told("queue decide")
def decide(
    settings: Settings,
    chosen: Chosen,
    words: Sequence[str],
    officer: Officer,
    *,
    dry_run: bool = False,
    progress: Progress = lambda _done, _of: None,
) -> Decided:
    """Decide. Items of a cause that cannot have this outcome are counted and left; one that is named and cannot is Misconfigured."""
    wanted = Wanted.of(words)
    found = queues(settings, chosen.flow)
    items = [found.item(name) for name in chosen.names] if chosen.names else _waiting(found, chosen)
    now = _now()
    outcome = Decided(is_dry=dry_run)
    made: list[_Made] = []
    for item in items:
        try:
            _same_as_seen(item, chosen.seen)
            decision = wanted.decision(item, found.directory, by=officer.by, reason=officer.told, at=now)
        except Unfit as unfit:
            if chosen.names:
                raise Misconfigured(f"item {item.name[:NAME_DIGITS]}", unfit.why, fix=unfit.fix) from unfit
            outcome.left[unfit.why, unfit.fix] += 1
            continue
        if item.decision is not None and _is_same(item.decision, decision):
            outcome.already += 1
            continue
        outcome.says = decision.says
        outcome.counts[item.flow.name, item.cause] += 1
        outcome.names.append(item.name[:NAME_DIGITS])
        outcome.bases[item.name] = item.basis
        made.append((item.name, item.cause, decision))
    if not dry_run:
        _write(settings, "queue decide", made, officer, progress)
    return outcome


@refusals_told("queue undo")
def undo(
    settings: Settings,
    chosen: Chosen,
    officer: Officer,
    *,
    dry_run: bool = False,
    progress: Progress = lambda _done, _of: None,
) -> Decided:
    """Take decisions back; also of items that are there no more. Safe to repeat."""
    found = queues(settings, chosen.flow)
    standing: dict[str, Decision] = {**found.gone}
    standing |= {name: item.decision for name, item in found.items.items() if item.decision is not None}
    if chosen.names:
        names = [found.name_of(name) for name in chosen.names]
    else:
        names = [item.name for item in found.chosen(chosen.flow, chosen.cause)]
    now = _now()
    outcome = Decided(is_dry=dry_run, says=UNDO)
    made: list[_Made] = []
    for name in names:
        decision = standing.get(name)
        if decision is None or decision.outcome == UNDO:
            outcome.already += len(chosen.names) > 0
            continue
        cause = found.items[name].cause if name in found.items else "gone"
        outcome.counts[decision.flow, cause] += 1
        outcome.names.append(name[:NAME_DIGITS])
        undone = replace(decision, outcome=UNDO, says=UNDO, by=officer.by, at=now, reason=officer.told, value=None)
        made.append((name, cause, undone))
    if not dry_run:
        _write(settings, "queue undo", made, officer, progress)
    return outcome


def _waiting(found: Queues, chosen: Chosen) -> list[Item]:
    return [
        item
        for item in found.chosen(chosen.flow, chosen.cause)
        if item.state != SETTLED and (chosen.seen is None or item.name in chosen.seen)
    ]


def _same_as_seen(item: Item, seen: Mapping[str, str] | None) -> None:
    """Raises Unfit where an item is another than the one that was looked at."""
    if seen is not None and seen.get(item.name) != item.basis:
        raise Unfit("it stands on other facts than when it was looked at", "look at it again, and decide then")


def _is_same(standing: Decision, wanted: Decision) -> bool:
    """Whether it is decided just so, upon just these facts, whoever decided it and why."""
    return replace(standing, by=wanted.by, at=wanted.at, reason=wanted.reason, opened_at=wanted.opened_at) == wanted


def _write(settings: Settings, what: str, made: Sequence[_Made], officer: Officer, progress: Progress) -> None:
    with closing(AuditedLog(settings.kafka, client_id="mesh-queue")) as log:
        for start in range(0, len(made), RUN_ITEMS):
            run = made[start : start + RUN_ITEMS]
            for _, _, decision in run:
                publish(log.append, DECISIONS, decision.key, decision.to_json())
            for (flow, cause, says), names in _grouped(run):
                details = {"decision": says, "by": officer.by, "reason": officer.told, "count": len(names)}
                audit(log.append, what, f"{flow} {cause}", items=names, **details)
            log.flush(WITHIN_SECONDS)
            progress(start + len(run), len(made))


def _grouped(run: Sequence[_Made]) -> Iterator[tuple[tuple[str, str, str], list[str]]]:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name, cause, decision in run:
        groups.setdefault((decision.flow, cause, decision.says), []).append(name[:NAME_DIGITS])
    yield from groups.items()


def _now() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000_000)
