"""Route: one batch of a feed through its checks and the grants that are live, onto their `out` topics.

Tombstones of the feed are not counted and not copied: where a removal is due, its delete and its tombstone are written
together. Every change is counted once per grant, as delivered, suppressed or rejected (invariant 3).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.agreement.directory import FeedEntry
from schemas.agreement.objection import CORRECTION_OF
from schemas.change import Batch, Record
from schemas.dead_letter import DeadLetter
from schemas.errors import Rejected
from schemas.feed import dead_letter_topic
from schemas.position import MARKS, NO_TRACE, SMALL, TRACE_ID, trace_in
from schemas.wire.envelope import unframe
from schemas.wire.scan import Extras, Mark, Spans
from schemas.wire.spans import malformed
from streams.egress.cut import Removal, ScopeUnknown
from streams.egress.plan import Headers, Output, Plan, Plans, Serving
from streams.egress.scope import ReadOut, Scopes

DELETE = ord("d")
REASON = "reason"
OUT_OF_SCOPE = (REASON, b"OUT_OF_SCOPE")
SOURCE_DELETED = (REASON, b"SOURCE_DELETED")
FLUSH_SECONDS = 30.0


class Outlet(Protocol):
    """Where records go, used by one thread. A failed one stays failed; `open_outlet` makes the next."""

    def append(
        self, topic: str, key: bytes | None, value: bytes | None, *, partition: int, headers: Headers | None
    ) -> None:
        """Queue one record; partition -1 lets the key decide. Raises Rejected for one that is too large."""
        ...

    def flush(self, within_seconds: float) -> None:
        """Return once everything appended is durable; raise Transient if it is not in time."""
        ...

    def settle(self, within_seconds: float) -> bool:
        """Wait until nothing is under way any more, delivered or not; whether that was so in time."""
        ...


class Disputes(Protocol):
    """Fields that subscribers dispute (schemas/agreement/objection.py), asked by the thread that routes."""

    def keys(self, feed: str) -> Collection[bytes]:
        """The keys of rows of which a field is disputed, without their frame; of most feeds none at any time."""
        ...

    def corrected(self, feed: str, record: Record) -> Sequence[tuple[str, str]]:
        """What this change of such a row corrects: ids of objections, each with its field. The same for the same change."""
        ...


class NoDisputes:
    """For a router that runs by itself."""

    def keys(self, feed: str) -> Collection[bytes]:  # noqa: ARG002
        """None."""
        return ()

    def corrected(self, feed: str, record: Record) -> Sequence[tuple[str, str]]:  # noqa: ARG002
        """Nothing."""
        return ()


@dataclass(slots=True)
class BatchTally:
    """What happened to a batch: changes and bytes in, and per grant what came of them. `invalid` are rejected for all grants."""

    count: int = 0
    size_bytes: int = 0
    rejected: dict[str, int] = field(default_factory=dict[str, int])
    invalid: int = 0
    delivered: list[int] = field(default_factory=list[int])
    suppressed: list[int] = field(default_factory=list[int])
    sizes: list[int] = field(default_factory=list[int])

    def reject(self, reason: str) -> None:
        """Count a dead letter."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


class Router:
    """Routes batches onto one outlet. Not shared between threads.

    `is_live`: false for a replay, in which the feed's own rejects are passed over, since they were dead-lettered live.
    """

    def __init__(
        self,
        plans: Plans,
        outlet: Outlet,
        *,
        is_live: bool,
        read_out: ReadOut = lambda *_: (),
        disputes: Disputes | None = None,
    ) -> None:
        self._plans = plans
        self._disputes = disputes or NoDisputes()
        self._outlet = outlet
        self._is_live = is_live
        self.scopes = Scopes(read_out, outlet.append)

    def route(  # noqa: C901, PLR0912, PLR0915  # the hot loop stays in one piece: a call costs as much as a column
        self, batch: Batch, feed: FeedEntry, servings: tuple[Serving, ...]
    ) -> BatchTally:
        """Append what each grant gets of the batch. Nothing is durable before the outlet is flushed."""
        tally = BatchTally(delivered=[0] * len(servings), suppressed=[0] * len(servings), sizes=[0] * len(servings))
        plans: dict[bytes, Plan] = {}
        append, partition = self.scopes.append if self.scopes else self._outlet.append, batch.partition
        delivered, suppressed, sizes = tally.delivered, tally.suppressed, tally.sizes
        output: Output | None = None
        disputed = self._disputes.keys(batch.topic)
        corrected: Sequence[tuple[str, str]] = ()
        count = size_bytes = 0
        for record in batch.records:
            _, record_key, value, _, _ = record
            if value is None:
                continue
            trace = None
            count += 1
            size_bytes += len(value)
            try:
                plan = plans.get(value[:5])
                if plan is None:
                    plan = plans[value[:5]] = self._plan(value, feed, servings)
                spans = plan.scan(value)
                extras = spans[6]
                if extras is not None and extras.unchanged:
                    value, spans, extras = _with_unsent(plan, value, spans)
                elif plan.check is not None and spans[2] is not None:
                    marks = plan.check(value, spans[2], spans[3])
                    if marks:
                        extras = _with_marks(extras, marks)
            except (Rejected, IndexError, UnicodeDecodeError) as error:
                self._reject(batch, record, None, error, tally)
                continue
            if disputed:
                corrected = self._corrected(batch.topic, record) if (record_key or b"")[5:] in disputed else ()
            for output in plan.outputs:
                try:
                    if extras is not None:
                        _refuse_unsent(output, extras)
                    out = output.cut(value, spans)
                    if out is None:
                        suppressed[output.index] += 1
                        continue
                    if extras is not None:
                        out = _with_extras(output, out, len(value) - spans[5], extras)
                    key = record_key if output.rekey is None or record_key is None else output.rekey(record_key)
                    if trace is None:
                        at = value.find(b'["', spans[3])  # schemas/position.py, without a call
                        trace = (
                            (TRACE_ID, plan.salt + value[at + 2 : at + 36].translate(SMALL, MARKS))
                            if at > 0
                            else NO_TRACE
                        )
                    headers = [*output.headers, trace]
                    if corrected:
                        headers += _corrections(output, corrected)
                    if spans[0] != DELETE and out.__class__ is bytes:
                        append(output.topic, key, out, partition=partition, headers=headers)
                    else:
                        reason = OUT_OF_SCOPE if isinstance(out, Removal) else _reason_of_delete(record)
                        append(output.topic, key, out, partition=partition, headers=[*headers, reason])
                        append(output.topic, key, None, partition=partition, headers=headers)
                    delivered[output.index] += 1
                    sizes[output.index] += len(out)
                except ScopeUnknown as error:
                    append = self.scopes.append
                    headers = [*output.headers, trace_in(value, spans[3], plan.salt)]
                    headers += _corrections(output, corrected)
                    self._by_scope(batch, record, output, (value, spans, extras), (headers, error), tally)
                except (Rejected, IndexError) as error:
                    self._reject(batch, record, output, error, tally)
        tally.count, tally.size_bytes = count, size_bytes
        return tally

    def _by_scope(
        self,
        batch: Batch,
        record: Record,
        output: Output,
        change: tuple[bytes, Spans, Extras | None],
        said: tuple[list[tuple[str, bytes]], ScopeUnknown],
        tally: BatchTally,
    ) -> None:
        """A row outside the filter, or gone, of which the source did not say what it was: removed if it was delivered."""
        (value, spans, extras), (headers, error) = change, said
        if output.withdraw is None or not record.key:
            self._reject(batch, record, output, error, tally)
            return
        try:
            key = record.key if output.rekey is None else output.rekey(record.key)
            if not self.scopes.is_known(output.topic, batch.partition):
                self._outlet.flush(FLUSH_SECONDS)  # what was appended before counts, and is read back
            if not self.scopes.holds(output.topic, batch.partition, key):
                tally.suppressed[output.index] += 1
                return
            out = output.withdraw(value, spans)
            assert out is not None
            if extras is not None:
                out = _with_extras(output, out, len(value) - spans[5], extras)
            reason = _reason_of_delete(record) if spans[0] == DELETE else OUT_OF_SCOPE
            self.scopes.append(output.topic, key, out, partition=batch.partition, headers=[*headers, reason])
            self.scopes.append(output.topic, key, None, partition=batch.partition, headers=headers)
            tally.delivered[output.index] += 1
            tally.sizes[output.index] += len(out)
        except (Rejected, IndexError) as refusal:
            self._reject(batch, record, output, refusal, tally)

    def _corrected(self, feed: str, record: Record) -> Sequence[tuple[str, str]]:
        try:
            return self._disputes.corrected(feed, record)
        except (Rejected, ValueError, KeyError, TypeError):
            return ()  # what cannot be read is told of where it is cut

    def _plan(self, value: bytes, feed: FeedEntry, servings: tuple[Serving, ...]) -> Plan:
        schema_id, _ = unframe(value)
        return self._plans.plan(schema_id, feed, servings)

    def _reject(self, batch: Batch, record: Record, output: Output | None, error: Exception, tally: BatchTally) -> None:
        if output is None and not self._is_live:
            return
        if not isinstance(error, Rejected):
            error = malformed()
        tally.reject(error.reason)
        tally.invalid += output is None
        letter = DeadLetter(
            topic=batch.topic,
            partition=batch.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            hop="enrich" if error.reason.startswith("rule_") else "egress",
            reason=error.reason,
            detail=str(error),
            subscriber=output.subscriber if output else "",
        )
        self._outlet.append(
            dead_letter_topic(batch.topic), record.key, record.value, partition=-1, headers=letter.headers()
        )


def _reason_of_delete(record: Record) -> tuple[str, bytes]:
    """A flow says why its row went (a publication expired, say); the rows of a table are deleted in the source."""
    return next((header for header in record.headers or () if header[0] == REASON), SOURCE_DELETED)


def _corrections(output: Output, corrected: Sequence[tuple[str, str]]) -> list[tuple[str, bytes]]:
    """For everybody who had the wrong value, in whatever form."""
    told = ",".join(each for each, field in corrected if field in output.shown)
    return [(CORRECTION_OF, told.encode())] if told else []


def _with_marks(extras: Extras | None, marks: tuple[Mark, ...]) -> Extras:
    return Extras((), marks) if extras is None else extras._replace(marks=extras.marks + marks)


def _with_extras(output: Output, out: bytes, replaced: int, extras: Extras) -> bytes:
    """The out envelope with its last `replaced` bytes, the feed's own extras, replaced by what the grant may see."""
    ended = out[: len(out) - replaced] + output.trailer(extras)
    return Removal(ended) if isinstance(out, Removal) else ended


def _refuse_unsent(output: Output, extras: Extras) -> None:
    if extras.unchanged and not output.filter_columns.isdisjoint(extras.unchanged):
        raise Rejected(
            "scope_unknown",
            "the row filter reads columns that the source did not send",
            fix="set REPLICA IDENTITY FULL on the table, or filter on key columns only",
        )


def _with_unsent(plan: Plan, value: bytes, spans: Spans) -> tuple[bytes, Spans, Extras | None]:
    """A record with unsent columns: with their values where `before` has them, otherwise checked without them."""
    whole = plan.complete(value)
    if whole is not None:
        spans = plan.scan(whole)
        extras = spans[6]
        if plan.check is not None and spans[2] is not None:
            marks = plan.check(whole, spans[2], spans[3])
            extras = _with_marks(extras, marks) if marks else extras
        return whole, spans, extras
    extras = spans[6]
    assert extras is not None
    partial = plan.check_without(frozenset(extras.unchanged)) if plan.check is not None else None
    if partial is not None:
        scan, check = partial
        its_spans = scan(value)
        if its_spans[2] is not None:
            extras = _with_marks(extras, check(value, its_spans[2], its_spans[3]))
    return value, spans, extras
