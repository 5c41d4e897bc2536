"""Evidence: messages of facts and counts become entries of their subjects, and say which subjects a fold must look at again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streams.engine.entry import Live, fact_entry, fact_heard, fact_of, newer, prefix_of
from streams.engine.inbox.message import pack, unpack
from streams.engine.subjects import Subjects
from streams.operators.flow import DECISION, Flow
from streams.operators.rejected_row import fold_of


class SubjectEvidence:
    """Takes evidence for the subjects of one task."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects

    def fact(self, flow: Flow, subject: str, message: Sequence[Any]) -> None:
        """A FACT message."""
        subjects, fold = self._subjects, fold_of(flow, subject)
        prefix = prefix_of(flow.name, subject)
        if (live := subjects.recent(prefix)) is not None:
            self.fact_of_live(live, message)
            return
        is_asleep = (
            fold.waits_for is not None and message[1] != f"~{fold.waits_for}" and not subjects.is_awake(flow, subject)
        )
        if not fold.at_tick and not is_asleep:
            self.fact_of_live(subjects.live(flow, subject), message)
            return
        fact = fact_heard(message)
        key = prefix + f"f{fact.feed}\0{fact.row_id}".encode()
        known = subjects.read(key)
        present = fact_of(fact.feed, fact.row_id, unpack(known)) if known else None
        merged, is_news = newer(present, fact, keeps_history=message[7])
        if merged is not None:
            subjects.changes.put(prefix, key, fact_entry(merged), is_apart=True)
            if is_news and not is_asleep:
                subjects.fold_at_next_tick(flow, subject, is_urgent=fact.feed == DECISION)

    def fact_of_live(self, live: Live, message: Sequence[Any]) -> None:
        """A FACT message to a subject that is in memory."""
        fact = fact_heard(message)
        feed, identity = fact.feed, fact.row_id
        facts = live.subject.facts.setdefault(feed, {})
        present = facts.get(identity)
        merged, is_news = newer(present, fact, keeps_history=message[7])
        if merged is not None:
            subjects, prefix = self._subjects, live.prefix
            facts[identity] = merged
            key = prefix + f"f{feed}\0{identity}".encode()
            subjects.changes.put(prefix, key, fact_entry(merged), is_apart=live.fold.at_tick)
            if is_news:
                live.hear(fact)
                subjects.mark(live, is_urgent=feed == DECISION)

    def count(self, flow: Flow, subject: str, message: Sequence[Any]) -> None:
        """A COUNT message."""
        subjects = self._subjects
        _, measure, difference, *committed = message  # no commit: a message of an earlier version
        prefix = prefix_of(flow.name, subject)
        key = prefix + f"c{measure}".encode()
        is_apart = fold_of(flow, subject).at_tick
        self._counted_at(prefix, committed[0] if committed else 0, is_apart=is_apart)
        live = subjects.recent(prefix) if is_apart else subjects.live(flow, subject)
        if live is None:
            known = subjects.read(key)
            total = (unpack(known) if known else 0) + difference
            subjects.fold_at_next_tick(flow, subject)
        else:
            live.caused_ms = max(live.caused_ms, *committed, 0)
            total = live.subject.counts.get(measure, 0) + difference
            if total:
                live.subject.counts[measure] = total
            else:
                live.subject.counts.pop(measure, None)
            subjects.mark(live)
        subjects.changes.put(prefix, key, pack(total) if total else None, is_apart=is_apart)

    def _counted_at(self, prefix: bytes, committed_at_ms: int, *, is_apart: bool) -> None:
        """Rows that follow from sums alone bear the newest commit that a sum is of."""
        known = self._subjects.read(prefix + b"a")
        if committed_at_ms > (unpack(known) if known else 0):
            self._subjects.changes.put(prefix, prefix + b"a", pack(committed_at_ms), is_apart=is_apart)
