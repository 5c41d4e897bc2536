"""Flow: a system of the city, as data and pure functions; the words in which one is written.

A flow is told of rows (facts) and says which rows follow from them. It holds no state of its own and calls nothing:

    feeds ── Input ──▶ facts of a subject ── Fold ──▶ rows on derived feeds, tells to other subjects, counts, a timer
              which subjects is this row       a pure function of the whole subject
              evidence for?

A *subject* is whatever a flow keeps together: a person, an organisation, a case, a warning's taxpayer. Its key reads
`<kind>:<id>`, and the kind chooses the fold. What the fold returns is always the *whole* of what the subject says now; the
engine compares it with what it said last, and emits the difference as creates, updates and deletes. So a fact that is
corrected, withdrawn or late needs no code of its own, and since facts are kept by feed and key with the newest position,
any interleaving of the same changes ends in the same state (invariants 2 and 4).

Values are raw Avro, as everywhere in the mesh: dates are days, timestamps microseconds since 1970-01-01 UTC, decimals bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from schemas.agreement.directory import Directory

Row = Mapping[str, Any]

QUEUE_KEY = ("conflict_id",)
DECISION = "@decision"
"""The pseudo-feed of what officers decided about items of a subject (streams/operators/decided.py)."""


class RejectedRow(Exception):
    """Raised by `Input.subjects` or by a fold's helpers for a row that cannot be evidence for anybody: a named outcome.

    `kind` is a code such as `CITIZEN_ID_INVALID`, safe as a label; `detail` says more and holds no value of the row.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = detail


class Fact(msgspec.Struct):
    """One row of one feed, as the subject last heard of it. `row` is None once the source deleted it.

    `committed_at_ms` is when the row was committed, by the flow's clock: where a past is replayed, when its department wrote it
    (Input.written). `event_at` is the row's event time, microseconds: its business date where the Input names one, else that
    commit. So all times that a fold sees are of one calendar, and may be compared with `Subject.now` and written into rows.
    `position` is the change's Position text (within a tell, that of the teller); `earlier` are older versions of the row,
    oldest first, kept only where the Input says so. Versions that change nothing of what travels leave no trace in a fact: it
    stays that of the commit which brought the row. The last two are the engine's notes: the position of the last version, and
    the source's own commit where that is another than the flow's clock has it.
    """

    feed: str
    row_id: str
    row: Row | None
    position: str
    event_at: int
    committed_at_ms: int
    earlier: tuple[Fact, ...] = ()
    seen: str = ""
    source_ms: int | None = None

    @property
    def caused_ms(self) -> int:
        """The source's own commit: what the envelopes of derived rows bear, and no fold may reckon with."""
        return self.committed_at_ms if self.source_ms is None else self.source_ms

    def with_earlier(self, earlier: tuple[Fact, ...]) -> Fact:
        """This version with these before it."""
        return replace(self, earlier=earlier)


class Subject(msgspec.Struct):
    """All that is known of one subject, as a fold sees it. A fold must not change it.

    `facts` maps feed (or `~tag` for what other subjects tell) and row id to the newest version; `published` maps feed and row
    id to what the subject's last fold published; `memory` is what that fold asked to remember; `counts` are the sums of what
    other subjects count here; `now` is the flow's event clock, microseconds; `feeds` are the onboarded ones (None: all), for a
    fold that must not take a register that nobody connected for an empty one. What an officer decided is in the facts already
    (streams/operators/decided.py), but for `accepted`, the claims by feed and position that count whatever speaks against them, and
    `decided`, by item, what is said for who is silent (streams/operators/ask.py).
    """

    key: str
    now: int = 0
    facts: dict[str, dict[str, Fact]] = {}
    published: dict[str, dict[str, Row]] = {}
    memory: dict[str, Any] = {}
    counts: dict[str, int] = {}
    feeds: frozenset[str] | None = None
    accepted: frozenset[tuple[str, str]] = frozenset()
    decided: Mapping[str, Fact] = {}

    @property
    def kind(self) -> str:
        """What sort of subject this is: the part of its key before the colon."""
        return self.key.partition(":")[0]

    @property
    def id(self) -> str:
        """The subject's key without its kind."""
        return self.key.partition(":")[2]

    def of(self, *feeds: str) -> list[Fact]:
        """The rows of these feeds that exist now, ordered by event time, then feed, row id: never by arrival."""
        found = [fact for feed in feeds for fact in self.facts.get(feed, {}).values() if fact.row is not None]
        found.sort(key=lambda fact: (fact.event_at, fact.feed, fact.row_id))
        return found

    def told(self, tag: str) -> list[Row]:
        """What other subjects tell this one under a tag, in the order of `of`."""
        return [fact.row for fact in self.of(f"~{tag}") if fact.row is not None]

    def as_of(self, moment: int) -> Subject:
        """The subject as its facts stood at an event time: each row's newest version not after it (HANDBOOK C7)."""
        facts: dict[str, dict[str, Fact]] = {}
        for feed, rows in self.facts.items():
            for row_id, fact in rows.items():
                versions = [version for version in (*fact.earlier, fact) if version.event_at <= moment]
                if versions:
                    newest = max(versions, key=lambda version: version.position)
                    earlier = tuple(version for version in versions if version.position < newest.position)
                    facts.setdefault(feed, {})[row_id] = newest.with_earlier(earlier)
        return Subject(key=self.key, now=moment, facts=facts)


class Tell(msgspec.Struct, frozen=True):
    """A row that one subject gives to another of the same flow: there a fact of the pseudo-feed `~<tag>`.

    `id` tells apart what the same teller says to the same subject under one tag.
    """

    to: str
    tag: str
    row: Row
    id: str = ""
    event_at: int | None = None


class Outcome(msgspec.Struct):
    """The whole of what a subject says now. What it said before and says no more is withdrawn.

    `rows` maps derived feed to its rows; `counts` maps (other subject, measure) to this subject's contribution; `wake_at`, an
    event time in microseconds, asks for another fold once the event clock is there; `reasons` maps a derived feed to the
    header `reason` of the deletes that this outcome causes there, such as `RETRACTED` or `PUBLICATION_EXPIRED`.
    """

    rows: dict[str, list[Row]] = {}
    tells: list[Tell] = []
    counts: dict[tuple[str, str], int] = {}
    memory: dict[str, Any] = {}
    wake_at: int | None = None
    reasons: dict[str, str] = {}

    def publish(self, feed: str, *rows: Row) -> None:
        """Add rows to a derived feed."""
        self.rows.setdefault(feed, []).extend(rows)

    def wake(self, moment: int) -> None:
        """Ask for another fold at this event time, or at an earlier one already asked for."""
        self.wake_at = moment if self.wake_at is None else min(self.wake_at, moment)


@dataclass(frozen=True, slots=True)
class Fold:
    """How subjects of one kind are folded: a pure function, called once per batch of news.

    `at_tick`: the subject may gather many thousands of facts or counts (a roster, a city-wide group); it is folded at the next
    advance of the event clock instead of at every batch. `is_patient`: where the last fold asked to be woken at some moment,
    news wait for it too, so that a roster of a hundred thousand is not read again at every tick of the month before.
    `waits_for`: the tag by which other subjects ask; such a subject says nothing until one has asked. Its facts are kept, and it
    is folded from then on: of the city's evidence, a third is about persons whom no case asks about.
    """

    fold: Callable[[Subject], Outcome]
    at_tick: bool = False
    is_patient: bool = False
    waits_for: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One feed that a flow reads.

    `subjects` gives the keys of the subjects that a row is evidence for, or raises RejectedRow. A row that no longer names a subject
    is withdrawn there. `columns` are what travels to the subject (empty: all); the feed's key columns always do.
    `event_time` names the column of the row's business date or time; without one, or where it is null, the source commit counts.
    `written` names the column in which its department notes when it wrote the row (HANDBOOK §3): where a past is replayed, that is
    the commit on the past's calendar. A plain long is milliseconds. A feed without such a column has the flow's clock instead.
    `keeps_history`: older versions of the row stay with the subject, for `Subject.as_of`. `stays`: `subjects` looks at the feed's
    key columns alone, so that an update never moves the row to another subject; it spares reading the row as it was.
    """

    feed: str
    subjects: Callable[[Row], Iterable[str]]
    columns: Sequence[str] = ()
    event_time: str | None = None
    written: str = "updated_at"
    keeps_history: bool = False
    stays: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One system: what it reads, how its subjects are folded, what it writes.

    `outputs` maps each derived feed to its key columns, as its contract has them. `queue` is the derived feed (one of
    `outputs`) of rows and subjects that need a person: see `queue_item`. An input of no onboarded contract is left out, and so
    is a flow of which no output is onboarded; where only some are, the flows wait for the others, and an incident says so: a row
    left out would be lost. `acceptable` are the kinds of items whose rows its folds count once an officer accepts them
    (`Subject.accepted`), `verdicts` what an overdue answer may be decided to have been.
    """

    name: str
    inputs: Sequence[Input]
    folds: Mapping[str, Fold]
    outputs: Mapping[str, Sequence[str]]
    queue: str
    acceptable: frozenset[str] = frozenset()
    verdicts: tuple[str, ...] = ()


def in_use(flows: Iterable[Flow], directory: Directory) -> list[Flow]:
    """The flows that a mesh runs: those of which it has an output.

    A district that lends a table to a system of the city's, and takes what the system makes of it, runs no such system.
    """
    return [flow for flow in flows if any(map(directory.is_derived, flow.outputs))]


def keyed(kind: str, column: str) -> Callable[[Row], Iterable[str]]:
    """`Input.subjects` for rows that name their subject by one column: `<kind>:<value>`, or RejectedRow `<COLUMN>_MISSING`."""

    def subjects(row: Row) -> Iterable[str]:
        if not row[column]:
            raise RejectedRow(f"{column.upper()}_MISSING", column)
        return (f"{kind}:{row[column]}",)

    return subjects


def row_id(row: Row, key: Sequence[str]) -> str:
    """A row's key as text: the value itself where the key is one column, otherwise joined by a bar."""
    return str(row[key[0]]) if len(key) == 1 else "|".join(str(row[name]) for name in key)


def queue_item(
    conflict_id: str,
    kind: str,
    subject_keys: Sequence[str],
    claims: Iterable[Fact],
    *,
    opened_at: int,
    detail: str = "",
    values: Callable[[Fact], str | None] = lambda _: None,
) -> Row:
    """A row of a flow's queue, in the shape of `base.conflict` (HANDBOOK §3.4). `values` picks what of a claim is shown.

    `conflict_id` must be deterministic: the same conflict has the same id after any replay.
    """
    return {
        "conflict_id": conflict_id,
        "kind": kind,
        "subject_keys": list(subject_keys),
        "claims": [{"feed": fact.feed, "position": fact.position, "value": values(fact)} for fact in claims],
        "detail": detail,
        "opened_at": opened_at,
        "state": "OPEN",
        "decided_by": None,
        "decision": None,
    }
