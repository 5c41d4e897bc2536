"""Move: an identity number changes (police.id_change), and what is known under the old one is told to the new one.

The subject of the old number then publishes nothing, so that consumers see its record deleted and a new one that supersedes it
(C4). It tells every version of every fact, so that the new subject can also be asked about the past (C7). Of several changes
of a number the latest counts, by date, then by sequence number: in a ring of mistaken changes one number so stays in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

import msgspec

from schemas.dated.configuration import midnight
from streams.flows.person.evidence import as_evidence, holder, number_of
from streams.operators.flow import Fact, Outcome, Row, Subject, Tell

SHARED_NUMBER = "DUPLICATE_NUMBER"
"""One number for two people (重号): one of them gets a new one, the other may keep the old."""


class Change(msgspec.Struct, frozen=True):
    """A change of a number, in canonical forms; `effective` in days."""

    effective: int
    seq: str
    old: str
    new: str
    reason: str
    fact: Fact

    @property
    def order(self) -> tuple[int, str]:
        """The later of two changes of one number counts."""
        return self.effective, self.seq.zfill(20)


class Gathered(msgspec.Struct, frozen=True):
    """All evidence for a subject, native and told. `numbers` are its own ones, former ones included.

    `facts` are by feed and row id, deleted rows included; `superseded` maps a former number to the day its use ended.
    `lent` are the versions (feed, row id, position) known only because a keeper of a shared number passed them on.
    """

    facts: Sequence[Fact]
    numbers: frozenset[str]
    superseded: dict[str, int]
    changes: Sequence[Change]
    lent: frozenset[tuple[str, str, str]]

    def of(self, *feeds: str) -> list[Fact]:
        """Rows of these feeds that exist."""
        return [fact for fact in self.facts if fact.feed in feeds and fact.row is not None]


def gather(subject: Subject) -> Gathered:
    """Put the subject's own facts and those of its former numbers together."""
    facts = [fact for feed, rows in subject.facts.items() if not feed.startswith("~") for fact in rows.values()]
    lent: frozenset[tuple[str, str, str]] = frozenset()
    if moved := subject.told("moved"):
        facts, lent = _joined(facts, moved)
    else:
        facts.sort(key=attrgetter("feed", "row_id"))
    superseded: dict[str, int] = {}
    for row in subject.told("superseded"):
        superseded[row["number"]] = max(row["until"], superseded.get(row["number"], row["until"]))
    superseded.pop(subject.id, None)
    changes = sorted(_changes(facts), key=lambda change: change.order)
    shared = {change.old for change in changes if change.new == subject.id and change.reason == SHARED_NUMBER}
    numbers = frozenset({subject.id, *superseded, *shared})
    return Gathered([as_evidence(fact, numbers) for fact in facts], numbers, superseded, changes, lent)


def _joined(own: Iterable[Fact], moved: Iterable[Row]) -> tuple[list[Fact], frozenset[tuple[str, str, str]]]:
    """Own facts and those that former numbers tell, by feed and row id; and the versions known only because they were lent."""
    versions: dict[tuple[str, str], dict[str, Fact]] = {}
    for fact in own:
        for version in (*fact.earlier, fact):
            _keep(versions, version.with_earlier(()))
    known = {(*place, position) for place, found in versions.items() for position in found}
    lent: set[tuple[str, str, str]] = set()
    for row in moved:
        place = row["feed"], row["row_id"], row["position"]
        if row["is_lent"]:
            lent.add(place)
        else:
            known.add(place)
        version = Fact(row["feed"], row["row_id"], row["row"], row["position"], row["event_at"], row["committed_at_ms"])
        _keep(versions, version)
    return [_newest(found) for _, found in sorted(versions.items())], frozenset(lent - known)


def _keep(versions: dict[tuple[str, str], dict[str, Fact]], version: Fact) -> None:
    """A row that went from one of the numbers to another was deleted and stated by the same change: stated wins."""
    found = versions.setdefault((version.feed, version.row_id), {})
    present = found.get(version.position)
    if present is None or present.row is None:
        found[version.position] = version


def _newest(versions: dict[str, Fact]) -> Fact:
    ordered = [versions[position] for position in sorted(versions)]
    return ordered[-1].with_earlier(tuple(ordered[:-1]))


def _changes(facts: Iterable[Fact]) -> Iterable[Change]:
    for fact in facts:
        row = fact.row
        if fact.feed == "police.id_change" and row is not None:
            old, new = number_of(row["old_id"]), number_of(row["new_id"])
            if old != new:
                yield Change(row["effective_date"], fact.row_id, old, new, row["reason"], fact)


def successor(subject: Subject, gathered: Gathered) -> Change | None:
    """The change by which this number went out of use; None while it is used."""
    leaving = [change for change in gathered.changes if change.old == subject.id]
    coming = [change for change in gathered.changes if change.new == subject.id]
    if not leaving or (coming and coming[-1].order > leaving[-1].order):
        return None
    last = leaving[-1]
    if last.reason == SHARED_NUMBER and _keeper(subject, gathered):
        return None
    return last


def shared_with(subject: Subject, gathered: Gathered) -> Change | None:
    """The change by which another person who had this number too left it; what is not the keeper's is that person's."""
    leaving = [change for change in gathered.changes if change.old == subject.id and change.reason == SHARED_NUMBER]
    return leaving[-1] if leaving and _keeper(subject, gathered) else None


def _keeper(subject: Subject, gathered: Gathered) -> bool:
    """Whether the register still has somebody under this number."""
    return any(
        number_of(fact.row["citizen_id"]) == subject.id
        for fact in gathered.of("police.resident")
        if fact.row is not None
    )


def hand_over(subject: Subject, gathered: Gathered, change: Change) -> Outcome:
    """Tell the new number everything, and that it supersedes this one; publish nothing."""
    outcome = Outcome()
    target = holder(change.new)
    if target == subject.key:
        return outcome
    since = midnight(change.effective)
    for fact in gathered.facts:
        outcome.tells += _tells(target, fact, since, gathered.lent, is_lent=False)
    superseded: dict[str, int] = {**gathered.superseded, subject.id: change.effective}
    for former, until in superseded.items():
        row: Row = {"number": former, "until": until}
        outcome.tells.append(Tell(to=target, tag="superseded", row=row, id=former, event_at=since))
    return outcome


def lend(gathered: Gathered, fact: Fact, change: Change) -> list[Tell]:
    """Tell a row that is not the keeper's to the other person of a shared number.

    What was lent is not lent on: two numbers that were each other's would otherwise keep telling one another a row long after
    its source has taken it back.
    """
    return _tells(holder(change.new), fact, midnight(change.effective), gathered.lent, is_lent=True)


def _tells(target: str, fact: Fact, since: int, lent: frozenset[tuple[str, str, str]], *, is_lent: bool) -> list[Tell]:
    """Tells of a fact and its older versions, true from the change's day on."""
    told: list[Tell] = []
    for version in (*fact.earlier, fact):
        was_lent = (version.feed, version.row_id, version.position) in lent
        if is_lent and was_lent:
            continue
        row: Row = {
            "feed": version.feed,
            "row_id": version.row_id,
            "position": version.position,
            "event_at": version.event_at,
            "committed_at_ms": version.committed_at_ms,
            "row": version.row,
            "is_lent": is_lent or was_lent,
        }
        identity = f"{version.feed}|{version.row_id}|{version.position}"
        told.append(Tell(to=target, tag="moved", id=identity, event_at=max(version.event_at, since), row=row))
    return told
