"""Rehearsal: a flow run in memory, without broker, clock or sleep; what unit tests of flows are written with.

city = Rehearsal(FLOW, contracts)
city.insert("police.resident", citizen_id="…", name="…")       # columns not given are null
city.update("police.resident", {"citizen_id": "…"}, name="…")
city.delete("police.resident", {"citizen_id": "…"})
city.decide(item, LEAVE_OUT, claims=[1])                         # an officer decides about an item of the queue; UNDO takes it back
city.tick("2016-10-31")                                          # advance the event clock
city.rows("base.person")                                         # rows that exist now, by row id
city.history                                                      # every RowChange so far, in order
"""

from __future__ import annotations

import bisect
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import FeedEntry
from schemas.change import Change, Op, Record
from schemas.contract import Contract, wire_fields
from schemas.decision import Decision
from schemas.position import Position
from schemas.wire.codec import Codec
from streams.engine.effects import Effects, RowChange
from streams.engine.folding import Folding
from streams.engine.inbox.decisions import decisions
from streams.engine.inbox.intake import DAY_MICROS, Intake, Outgoing
from streams.engine.inbox.message import TICK, message_key, pack
from streams.operators.flow import Flow, Row, row_id

CITY = Path(__file__).parents[2] / "schemas" / "guangzhou"
EPOCH = date(1970, 1, 1)


def city_contracts() -> dict[str, Contract]:
    """Every contract of the example city, by feed."""
    found: dict[str, Contract] = {}
    for path in sorted(CITY.glob("*/*.avsc")):
        feed = f"{path.parent.name}.{path.stem}"
        found[feed] = Contract.parse(json.loads(path.read_text(encoding="utf-8")), feed)
    return found


def writing(flow: Flow, feeds: Mapping[str, FeedEntry]) -> dict[str, Agency]:
    """The agencies whose feeds a flow writes."""
    written = [feeds[feed].contract for feed in flow.outputs if feed in feeds]
    return {
        each.agency: Agency(
            agency=each.agency, name=each.agency, sources=(SourceConfig(name=each.source, kind="flow"),)
        )
        for each in written
    }


def days(text: str) -> int:
    """A date as a raw Avro value."""
    return (date.fromisoformat(text) - EPOCH).days


def micros(text: str) -> int:
    """An ISO date (midnight in Asia/Shanghai) or aware datetime as a raw Avro timestamp, microseconds."""
    if len(text) == 10:
        return days(text) * DAY_MICROS - 8 * 3_600_000_000
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def cents(amount: str, scale: int = 2) -> bytes:
    """A decimal as a raw Avro value."""
    number = int(amount.replace(".", "")) if "." in amount else int(amount) * 10**scale
    return number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)


class MemoryStore:
    """A Store in memory."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes, /) -> bytes | None:
        return self._entries.get(key)

    def scan(self, prefix: bytes, /, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        start = bisect.bisect_left(self._keys, max(prefix, after))
        for key in self._keys[start:]:
            if not key.startswith(prefix):
                return
            yield key, self._entries[key]

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                if self._entries.pop(key, None) is not None:
                    self._keys.pop(bisect.bisect_left(self._keys, key))
            else:
                if key not in self._entries:
                    bisect.insort(self._keys, key)
                self._entries[key] = value

    def entries(self) -> dict[bytes, bytes]:
        return dict(self._entries)


class Rehearsal:
    """One flow, one task. `now` is the source commit time of the next changes, an ISO date or aware datetime.

    `is_replay`: rows tell of another time than that of their commits, as where MESH_FLOW_CLOCK is `dates`.
    """

    def __init__(
        self,
        flow: Flow,
        contracts: Mapping[str, Contract] | None = None,
        now: str = "2016-10-31",
        *,
        is_replay: bool = False,
    ) -> None:
        self.flow = flow
        self.contracts = contracts if contracts is not None else city_contracts()
        self.store = MemoryStore()
        self.is_replay = is_replay
        self.intake = Intake(flow, is_replay=is_replay)
        self.folding = Folding([flow], self.store)
        self.history: list[RowChange] = []
        self.queued: dict[str, int] = {}
        self.now = now
        self._tables: dict[str, dict[str, Row]] = {}
        self._offset = 0
        self._number = 0
        self._decided = 0

    # ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def change(self, feed: str, before: Row | None, after: Row | None, op: Op | None = None) -> Change:
        """A committed change, not yet given to the flow."""
        contract = self.contracts[feed]
        row = after if after is not None else before
        assert row is not None or op is Op.TRUNCATE
        self._number += 1
        return Change(
            feed=feed,
            op=op or (Op.CREATE if before is None else Op.DELETE if after is None else Op.UPDATE),
            key={name: row[name] for name in contract.key} if row else {},
            before=before,
            after=after,
            position=Position(1, self._number, 1),
            committed_at_ms=micros(self.now) // 1000,
        )

    def row(self, feed: str, columns: Mapping[str, Any]) -> Row:
        """A whole row: columns that are not given are null."""
        unknown = columns.keys() - self.contracts[feed].by_name.keys()
        assert not unknown, f"{feed} has no column {unknown}"
        return {name: columns.get(name) for name in self.contracts[feed].by_name}

    def insert(self, feed: str, **columns: Any) -> Change:
        """A new row reaches the flow."""
        row = self.row(feed, columns)
        self._tables.setdefault(feed, {})[row_id(row, self.contracts[feed].key)] = row
        change = self.change(feed, None, row)
        self.take([change])
        return change

    def update(self, feed: str, key: Mapping[str, Any], **columns: Any) -> Change:
        """A row changes; not its key."""
        identity = row_id(key, self.contracts[feed].key)
        before = self._tables[feed][identity]
        after = self._tables[feed][identity] = {**before, **columns}
        change = self.change(feed, before, after)
        self.take([change])
        return change

    def delete(self, feed: str, key: Mapping[str, Any]) -> Change:
        """A row is deleted in the source."""
        before = self._tables[feed].pop(row_id(key, self.contracts[feed].key))
        change = self.change(feed, before, None)
        self.take([change])
        return change

    def take(self, changes: Iterable[Change]) -> None:
        """Give changes to the flow and let it settle."""
        for change in changes:
            if change.feed in self.intake.feeds:
                self.deliver(list(self.intake.messages(change, self.contracts[change.feed])))

    def settle(self) -> None:
        """Let the flow take up what was committed so far: on a broker, changes that nobody looks at travel together."""

    def tick(self, moment: str | int) -> None:
        """Advance the flow's event clock: an ISO date or datetime, or microseconds. A commit of `now` has told of it."""
        clock = moment if isinstance(moment, int) else micros(moment)
        tick = pack([TICK, clock, micros(self.now) // 1000])
        self.deliver([Outgoing(message_key(self.flow.name, ""), tick)])

    def decision(self, item: str, outcome: str, **more: Any) -> Decision:
        """What an officer decides about an item as it stands on the queue now, not yet given to the flow."""
        change = next(change for change in reversed(self.changes_of(self.flow.queue)) if change.row_id == item)
        assert change.after is not None
        assert change.about is not None
        subject, basis = change.about
        return Decision(
            flow=self.flow.name, subject=subject, item=item, outcome=outcome, says=outcome, by="officer", basis=basis,
            at=micros(self.now), opened_at=change.after["opened_at"], **{**more, "claims": tuple(more.get("claims", ()))},
        )  # fmt: skip

    def decide(self, item: str, outcome: str, **more: Any) -> Decision:
        """The same, taken by the flow."""
        decision = self.decision(item, outcome, **more)
        self.take_decisions([decision])
        return decision

    def take_decisions(self, made: Iterable[Decision]) -> None:
        """Give decisions to the flow, each behind those before it on its topic."""
        for decision in made:
            self._decided += 1
            value = json.dumps(decision.to_json()).encode()
            record = Record(self._decided, decision.key.encode(), value, None, 0)
            self.deliver([*decisions([record], {self.flow.name: self.flow})])

    def deliver(self, messages: list[Outgoing]) -> None:
        """Run messages, and those that they cause, until nothing is left; at-tick subjects wait for `tick`."""
        waiting = messages
        for _ in range(1000):
            if not waiting:
                return
            batch = [(self._offset + number, message.key, message.value) for number, message in enumerate(waiting)]
            self._offset += len(batch)
            waiting = []
            for effects in self.take_batch(batch):
                self.keep(effects)
                waiting += effects.messages
        raise AssertionError("the flow never settles: its subjects tell each other something new each time")

    def take_batch(self, batch: list[tuple[int, bytes, bytes]]) -> Iterator[Effects]:
        """The effects of a batch, slice by slice; each is kept before the next is asked for."""
        return (effects for effects, _ in self.folding.apply(batch))

    def keep(self, effects: Effects) -> None:
        """Make a slice's effects durable."""
        self.store.write(effects.changes)
        self.history += effects.rows
        for (_, kind), count in effects.queued.items():
            self.queued[kind] = self.queued.get(kind, 0) + count

    # ── what came of it ──────────────────────────────────────────────────────────────────────────────────────────────

    def rows(self, feed: str) -> dict[str, Row]:
        """The rows that exist on a derived feed, by row id."""
        found: dict[str, Row] = {}
        for change in self.history:
            if change.feed == feed:
                if change.after is None:
                    found.pop(change.row_id, None)
                else:
                    found[change.row_id] = change.after
        return found

    def queue(self) -> list[Row]:
        """What waits for a person."""
        return [item for _, item in sorted(self.rows(self.flow.queue).items())]

    def check_rows(self) -> None:
        """Every row that the flow published so far fits the contract of its feed: same columns, encodable, same key."""
        schemas: dict[int, Any] = {}
        codec = Codec(lambda schema_id: schemas[schema_id])
        for number, (feed, key) in enumerate(sorted(self.flow.outputs.items()), start=1):
            contract = self.contracts[feed]
            assert tuple(key) == tuple(contract.key), f"{feed}: the flow's key is {key}, the contract's {contract.key}"
            schemas[number] = {"type": "record", "name": "Row", "fields": wire_fields(contract)}
            for change in self.changes_of(feed):
                row = change.after if change.after is not None else change.before
                assert row is not None
                assert row.keys() == contract.by_name.keys(), f"{feed}: {sorted(row.keys() ^ contract.by_name.keys())}"
                assert codec.decode(codec.encode(number, row)) == row, f"{feed}: {change.row_id} comes back otherwise"

    def changes_of(self, feed: str) -> list[RowChange]:
        """Every change of a derived feed so far."""
        return [change for change in self.history if change.feed == feed]


def interleavings(streams: Iterable[list[Change]], seed: int, count: int) -> Iterator[list[Change]]:
    """`count` random merges of several feeds' changes, each feed's own order kept. Print the seed when a test fails."""
    rng = random.Random(seed)
    streams = [list(stream) for stream in streams]
    for _ in range(count):
        left = [list(stream) for stream in streams if stream]
        merged: list[Change] = []
        while left:
            stream = rng.choice(left)
            merged.append(stream.pop(0))
            left = [stream for stream in left if stream]
        yield merged
