"""Telling: one feed's statements, one after the other: staged, judged, told to the log, and taken once the log has them (FD-10)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from producers.source import SourceBatch
from producers.stated.held import HeldRows, Letter, Told
from producers.stated.place import StatedPlace
from producers.stated.records import StatedRecords
from producers.stated.staging import Refused
from producers.stated.teller import TableStatement, Teller
from schemas.agreement.directory import FeedEntry
from schemas.dead_letter import DeadLetter
from schemas.errors import ContractBroken, MeshError
from schemas.feed import dead_letter_topic
from schemas.incident import Incidents
from schemas.position import Position
from schemas.wire.envelope import value_schema

BATCH_RECORDS = 2_000
FREE_DELETES = 10
"""So many deletes are nobody's question, unless nothing is left."""


class StatedMark(NamedTuple):
    """So much of a statement is durable; `is_whole`: all of it."""

    feed: str
    epoch: int
    number: int
    done: int
    is_whole: bool


class Telling:
    """See above. `name` is `<agency>.<source>`; used by the source's thread. `place` is to be saved whenever it has changed."""

    def __init__(
        self, entry: FeedEntry, name: str, held: HeldRows, place: StatedPlace, teller: Teller, incidents: Incidents
    ) -> None:
        self.entry = entry
        self.place = place
        self._name = name
        self._held = held
        self._teller = teller
        self._incidents = incidents
        self._rows = teller.rows_of(entry)

    def batches(self) -> Iterator[SourceBatch]:
        """What there is to be done now; none where there is nothing. Raises ContractBroken where the feed must stop."""
        if self._held.next is None:
            statement = self._teller.look(self.entry, self._held.about)
            if statement is None:
                self._say_late()
                return
            yield from self._staged(statement)
        if self._held.next is not None and self._may_be_told(self._held.next):
            yield from self._tell(self._held.next)

    # ── staging ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _staged(self, statement: TableStatement) -> Iterator[SourceBatch]:
        staging = self._held.stage(is_whole=statement.is_whole)
        try:
            for _ in statement.rows(self._rows, staging):
                yield SourceBatch()
            self._require_legible(statement, staging.count, staging.letters)
            about = {**statement.about(), "number": self._held.number + 1, "epoch": self._held.epoch}
            staging.finish(statement.subject, {**about, "schema": self._held.about["schema"]})
        except Refused as refusal:
            staging.drop()
            self._teller.refused(self.entry, refusal.breach)
            self._notice(refusal.problem, refusal.fix)
            return
        except BaseException:
            staging.drop()
            raise
        about = self._held.staged()
        if not (about["created"] or about["updated"] or about["deleted"] or about["letters"]):
            self._teller.taken(self.entry, about)
            self._held.discard()
            self.place = replace(self.place, last=self._last(about))
            self._end_incident()

    def _require_legible(self, statement: TableStatement, rows: int, letters: int) -> None:
        most = self._teller.policy.bad_share_max
        if letters > most * (rows + letters):
            breach = f"{letters} of {rows + letters} rows cannot be read, more than bad_share_max ({most:g}) allows"
            raise Refused(
                statement.subject, breach, fix="let the sender correct it; a row's fault is told by its dead letter"
            )

    # ── judging ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _may_be_told(self, about: Mapping[str, Any]) -> bool:
        policy, deleted, held = self._teller.policy, about["deleted"], about["held"]
        is_few = deleted <= FREE_DELETES and about["rows"] > 0
        is_begun = self.place.done > 0
        if is_begun or is_few or deleted <= policy.delete_share_max * held or about["token"] in policy.accept:
            return True
        if not self._teller.is_present(self.entry, about):
            self._held.discard()
            return False
        breach = (
            f"{about['name']} would delete {deleted:,} of {held:,} rows, more than delete_share_max "
            f"({policy.delete_share_max:g}) allows; nothing of it is taken"
        )
        fix = (
            f'if so many rows are gone: write `accept: ["{about["token"]}"]` among the options of source {self._name} and '
            "`mesh onboard` the folder; otherwise let the sender put the right one in its place"
        )
        raise ContractBroken(self.entry.feed, breach, fix=fix)

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, about: Mapping[str, Any]) -> Iterator[SourceBatch]:
        feed, number, done = self.entry.feed, self._held.number + 1, self.place.done
        records = StatedRecords(
            self.entry,
            connector=self._teller.connector,
            source=self._name,
            epoch=self._held.epoch,
            number=number,
            at_ms=about["at_ms"],
            file=about.get("file", ""),
        )
        batch, count = SourceBatch(committed_at_ms=about["at_ms"]), 0
        if not self.place.is_emptied:
            batch.records += records.emptied()
            batch.count(feed, "t", 1, 0)
        for item in self._units():
            count += 1
            if count <= done:
                continue
            self._add(batch, records, item, count - about["letters"])
            if len(batch.records) >= BATCH_RECORDS:
                batch.marks.append((len(batch.records), StatedMark(feed, self._held.epoch, number, count, False)))
                yield batch
                batch = SourceBatch(committed_at_ms=about["at_ms"])
        batch.marks.append((len(batch.records), StatedMark(feed, self._held.epoch, number, count, True)))
        yield batch
        while self._held.number < number:
            time.sleep(0.01)
            yield SourceBatch()

    def _units(self) -> Iterator[Letter | Told]:
        yield from self._held.letters()
        yield from self._held.changes()

    def _add(self, batch: SourceBatch, records: StatedRecords, item: Letter | Told, ordinal: int) -> None:
        feed = self.entry.feed
        if isinstance(item, Letter):
            letter = DeadLetter(
                topic=feed,
                partition=-1,
                offset=-1,
                key=None,
                value=item.raw,
                hop="capture",
                reason=item.reason,
                detail=item.detail,
                position=str(Position(self._held.epoch, self._held.number + 1, 0)),
            )
            batch.records.append((dead_letter_topic(feed), None, letter.value, -1, letter.headers()))
            batch.reject(feed, item.reason)
            return
        first = "r" if self._held.number == 0 else "c"
        op = first if item.before is None else "u" if item.after is not None else "d"
        made = records.change(op, item.key, item.before, item.after, ordinal)
        batch.records += made
        batch.count(feed, op, 1, len(made[0][2] or b""))

    def confirm(self, mark: StatedMark) -> bool:
        """Take note of what is durable; whether the place should be saved at once."""
        if (mark.epoch, mark.number) != (self._held.epoch, self._held.number + 1) or self._held.next is None:
            return False
        if not mark.is_whole:
            self.place = self.place.told(mark.done)
            return False
        about = self._held.next
        self._held.apply()
        self._teller.taken(self.entry, about)
        self.place = self.place.taken(mark.number, self._last(about))
        self._end_incident()
        if about["is_whole"] and about["is_withheld"]:
            text = f"{about['name']} has rows without a readable key: no row was taken for deleted by it"
            self._notice(text, f"look at the dead letters of {self.entry.feed}, and let the sender correct the file")
        return True

    # ── what people see ──────────────────────────────────────────────────────────────────────────────────────────────

    def _last(self, about: Mapping[str, Any]) -> Mapping[str, Any]:
        counts = {name: about[name] for name in ("rows", "created", "updated", "deleted", "letters")}
        within, now = self._teller.policy.expected_seconds, time.time()
        told = {name: about[name] for name in ("name", "encoding") if name in about}
        return {**told, **counts, "at": now, "next_by": now + within if within else None}

    def _say_late(self) -> None:
        """Freshness: the next statement should have been there."""
        by = self.place.last.get("next_by")
        if by is not None and time.time() > by:
            due = datetime.fromtimestamp(by, UTC).isoformat(timespec="seconds")
            text = f"nothing new came after {self.place.last.get('name')}; the next was expected by {due}"
            self._notice(
                text, "ask the department; `expected_seconds` among the source's options says how often one comes"
            )

    def _notice(self, reason: str, fix: str) -> None:
        self._incidents.begin("feed", self.entry.feed, state="notice", reason=reason, fix=fix)

    def stopped(self, error: MeshError) -> None:
        """The feed stands until a person has decided."""
        self._incidents.begin("feed", self.entry.feed, state="stopped", reason=error.problem, fix=error.fix)

    def _end_incident(self) -> None:
        """Also one of an earlier process."""
        self._incidents.end("feed", self.entry.feed)

    def is_gone(self) -> StatedPlace:
        """Its place, as of a feed that is not the source's any more."""
        return replace(self.place, is_gone=True)


def row_schema(entry: FeedEntry) -> Mapping[str, Any]:
    """The schema of the feed's rows, and which one their keys are framed with."""
    return {**value_schema(entry.contract)["fields"][0]["type"][1], "key": entry.key_schema_id}
