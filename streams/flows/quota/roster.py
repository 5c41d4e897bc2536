"""Roster (摇号池): the codes that take part in one draw, frozen, published, drawn.

A roster is taken once and never changes: what is published is what it is. Pages keep each record small; together, sorted,
they hash to `roster_hash`. A draw counts only if roster and commitment came before the key, and if the key is the committed
one; then the result is computed here, from the roster alone. Otherwise an item says why there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from schemas.dated.configuration import day_of, midnight
from streams.flows.quota.application import DRAW
from streams.flows.quota.cycle import Period, period_of
from streams.flows.quota.draw import ALGORITHM, commitment, draw_order, draw_value, parse_key, roster_hash
from streams.operators.flow import Fact, Outcome, Row, Subject, Tell, queue_item

ROSTER, RESULT, QUEUE = "quota.roster", "quota.draw_result", "quota.queue"
PAGE_CODES = 1000
_EPOCH = date(1970, 1, 1)


def fold_draw(subject: Subject) -> Outcome:
    """The fold of `draw:<period>|<quota_kind>`."""
    return _Drawing(subject).fold()


def fold_draw_day(subject: Subject) -> Outcome:
    """The fold of `drawday:<period>|<quota_kind>`: a draw that was due, at the end of each day on which it may be held."""
    outcome = Outcome()
    if all(row["is_drawn"] for row in subject.told("state")):
        return outcome
    period = period_of(subject.id.partition("|")[0])
    days = (period.draw_on, *period.redraw_on)
    ends = [midnight(day + timedelta(days=1)) + period.grace for day in days]
    passed = sum(subject.now >= end for end in ends)
    if passed < len(ends):
        outcome.wake(ends[passed])
    if passed:
        detail = f"next draw day {days[passed]}" if passed < len(days) else "no draw day is left"
        key, kind = f"draw:{subject.id}", "DRAW_OVERDUE"
        outcome.publish(QUEUE, queue_item(f"{key}|{kind}", kind, [key], [], opened_at=ends[0], detail=detail))
    return outcome


@dataclass(slots=True)
class _Attempts:
    """What the versions of a draw's row come to: the commitment that binds, the key that counts, and what went wrong."""

    promised: str | None = None
    valid: Fact | None = None
    problems: dict[str, Fact] = field(default_factory=dict[str, Fact])


class _Drawing:
    """One fold of one draw."""

    def __init__(self, subject: Subject) -> None:
        name, _, self.quota_kind = subject.id.partition("|")
        self.subject = subject
        self.period: Period = period_of(name)
        seen = subject.memory.get("seen", subject.now)
        self.outcome = Outcome(memory={"seen": seen})
        self.roster_at = max(self.period.freeze_at, seen) + 2 * self.period.grace
        self.versions = [version for fact in subject.of(DRAW) for version in (*fact.earlier, fact) if version.row]

    def fold(self) -> Outcome:
        """Wait for the freeze, take the roster once, and draw once the key is known."""
        subject, outcome = self.subject, self.outcome
        told = [row["app_code"] for row in subject.told("code")]
        published = subject.published.get(ROSTER, {})
        if not published:
            if subject.now < self.roster_at:
                outcome.wake(self.roster_at)
                return outcome
            if not told and not self.versions:
                return outcome
        codes = _codes(published) if published else sorted(told)
        pages = list(published.values()) or list(self._pages(codes))
        draw = self._attempts(pages[0])
        promised = draw.promised or pages[0]["key_commitment"]  # the source may forget its row, the roster does not
        outcome.publish(ROSTER, *({**page, "key_commitment": promised} for page in pages))
        late = len(set(told).difference(codes))
        if late:
            self._queue("CODE_AFTER_FREEZE", f"{late} codes came after the roster was taken; it stays as it is")
        results = list(subject.published.get(RESULT, {}).values())
        if not results and draw.valid is not None:
            results = list(self._winners(codes, pages[0], draw.valid))
        if not results:
            for problem, version in draw.problems.items():
                self._queue(problem, "no draw from this row; it may be held again", version)
        self._announce(sorted(results, key=lambda row: row["rank"]))
        return outcome

    def _pages(self, codes: list[str]) -> Iterator[Row]:
        starts = range(0, max(len(codes), 1), PAGE_CODES)
        digest = roster_hash(codes)
        drawn = {row["period"]: row["drawn"] for row in self.subject.told("drawn")}
        for number, start in enumerate(starts, start=1):
            yield {
                "period": self.period.name,
                "quota_kind": self.quota_kind,
                "page": number,
                "pages": len(starts),
                "code_count": len(codes),
                "codes": codes[start : start + PAGE_CODES],
                "roster_hash": digest,
                "key_commitment": None,
                "frozen_at": self.roster_at,
                "draw_on": (self.period.draw_on - _EPOCH).days,
                "redraw_on": [(day - _EPOCH).days for day in self.period.redraw_on],
                "available_quota": self.period.available(self.quota_kind, drawn),
            }

    def _attempts(self, page: Row) -> _Attempts:
        """Go through the versions of the draw's row: what was promised, what was revealed, and whether that is in order.

        A commitment binds until a key was revealed that gives no draw; only then may another take its place, for a re-draw.
        """
        found = _Attempts()
        may_promise = True
        for version in self.versions:
            row = version.row or {}
            if not row["draw_key"]:
                if may_promise or row["key_commitment"] == found.promised:
                    found.promised, may_promise = row["key_commitment"], False
                else:
                    found.problems["COMMITMENT_CHANGED"] = version
                continue
            problem = self._problem(version, page, found.promised)
            if problem is None:
                found.valid = version
                return found
            found.problems[problem] = version
            may_promise = True
        return found

    def _problem(self, revealed: Fact, page: Row, promised: str | None) -> str | None:
        """Why a revealed key gives no draw; None if everything was public before it, and it is the one that was promised."""
        row = revealed.row or {}
        key = parse_key(row["draw_key"])
        checks: Mapping[str, bool] = {
            "ALGORITHM_UNKNOWN": row["algorithm"] != ALGORITHM,
            "KEY_NOT_HEX": key is None,
            "KEY_BEFORE_ROSTER": revealed.event_at < page["frozen_at"],
            "KEY_WITHOUT_COMMITMENT": promised is None,
            "KEY_NOT_COMMITTED": key is None or promised is None or commitment(key) != promised.lower(),
            "ROSTER_HASH_DIFFERS": (row["roster_hash"] or page["roster_hash"]).lower() != page["roster_hash"],
            "QUOTA_EXCEEDS_CYCLE": row["quota"] > page["available_quota"],
        }
        return next((name for name, is_wrong in checks.items() if is_wrong), None)

    def _winners(self, codes: list[str], page: Row, revealed: Fact) -> Iterator[Row]:
        row = revealed.row or {}
        key = parse_key(row["draw_key"]) or b""
        for rank, code in enumerate(draw_order(codes, key)[: row["quota"]], start=1):
            yield {
                "period": self.period.name,
                "quota_kind": self.quota_kind,
                "app_code": code,
                "rank": rank,
                "draw_value": draw_value(key, code).hex(),
                "roster_hash": page["roster_hash"],
                "key_commitment": commitment(key),
                "draw_key": key.hex(),
                "drawn_at": revealed.event_at,
                "valid_to": (day_of(revealed.event_at) - _EPOCH).days + self.period.pack["award_valid_days"],
            }

    def _announce(self, results: list[Row]) -> None:
        """Publish the winners, tell their cases, and tell the cycle's later periods how many quotas are gone."""
        drawn = {"is_drawn": bool(results)}
        self.outcome.tells.append(Tell(f"drawday:{self.subject.id}", "state", drawn))
        if not results:
            return
        self.outcome.publish(RESULT, *results)
        for row in results:
            won = {name: row[name] for name in ("period", "quota_kind", "rank", "drawn_at")}
            self.outcome.tells.append(Tell(f"case:{row['app_code']}", "won", won))
        for name in self.period.after_in_cycle():
            row = {"period": self.period.name, "drawn": len(results)}
            self.outcome.tells.append(Tell(f"draw:{name}|{self.quota_kind}", "drawn", row))

    def _queue(self, kind: str, detail: str, *claims: Fact) -> None:
        key = self.subject.key
        item = queue_item(f"{key}|{kind}", kind, [key], claims, opened_at=self.roster_at, detail=detail)
        self.outcome.publish(QUEUE, item)


def _codes(pages: Mapping[str, Row]) -> list[str]:
    ordered = sorted(pages.values(), key=lambda page: page["page"])
    return [code for page in ordered for code in page["codes"]]
