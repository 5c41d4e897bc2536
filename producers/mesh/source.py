"""The source kind `mesh`: feeds that another mesh (district 区, province 省) provides, read from our `out` topics there.

Nothing is taken before three things agree (invariant 6, HANDBOOK A10): the anchor (锚) that the source names is uploaded here, the
other mesh says on its `mesh.identity` that it has that key and signed so, and it stands on the Kafka cluster that it names.
The anchor is looked at before every batch, the statement whenever it changes.

A record's identity is the position that it has there; it is kept, so that a resend changes nothing (invariant 2).
`producers/mesh/place.py` says what is kept in `Progress`.

A gap stops the source (invariant 9): offsets that are gone, a cluster or topic made anew, a silence longer than deletes stay
readable over there. `mesh resync` accepts it: the feeds are emptied, and the topics read again above all earlier positions.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from confluent_kafka import Message

from producers.mesh.feed import PeerFeed, topic_of
from producers.mesh.link import PeerAddress, PeerLink, statement_in
from producers.mesh.place import READY, RESYNC, PeerMark, PeerPlace
from producers.source import TRUNCATE_KEY, SourceBatch, SourceSetting
from schemas.agreement.anchor import AnchorOptions
from schemas.agreement.identity import Statement
from schemas.change import Partition, Record
from schemas.errors import ContractBroken, MeshError, Misconfigured
from schemas.feed import IDENTITY
from schemas.registry.client import RegistryClient

WAIT_SECONDS = 0.2
SAVE_SECONDS = 1.0
SAVE_IDLE_SECONDS = 60.0
SILENCE_SECONDS = 7 * 24 * 3600.0
"""How long a delete stays readable on the other side (schemas/log/topics.py): after that compaction may have taken it."""

_logger = logging.getLogger(__name__)


def check_trust(statement: Statement | None, anchor: str, cluster: str, name: str) -> None:
    """Whether the mesh that speaks is the one whose anchor we have. Raises ContractBroken."""
    if statement is None:
        fix = "let its people run `mesh identity`, and give our user the right to read mesh.identity"
        raise ContractBroken(f"source {name}", "the other mesh does not say who it is", fix=fix)
    ask = "ask its people, by another way than this connection, which key is theirs; then correct `anchor:`"
    if not statement.is_genuine:
        raise ContractBroken(f"source {name}", "the statement of the other mesh is not signed with its key", fix=ask)
    if statement.fingerprint != anchor:
        breach = f"another mesh answers: its key is {statement.fingerprint}, the anchor {anchor}"
        raise ContractBroken(f"source {name}", breach, fix=ask)
    if statement.cluster != cluster:
        breach = f"the statement is of cluster {statement.cluster}, and was found on {cluster}: a copy of that mesh"
        raise ContractBroken(f"source {name}", breach, fix="correct the connection's address")


class PeerSource:
    """See `producers.source.Source`."""

    def __init__(self, setting: SourceSetting) -> None:
        self._setting = setting
        self._name = setting.name
        self._anchor = setting.options(AnchorOptions).anchor
        self._address = PeerAddress.parse(setting.address, self._name)
        self._require_anchor()
        record = setting.progress.load(self._name)
        self._place = PeerPlace.from_json(record) if record else PeerPlace(asked=self._asked())
        if self._is_asked():
            self._place = self._place.was_asked(self._asked())
        self._is_dirty = False
        self._saved_at = time.monotonic()
        self._given = setting.feeds()
        self._feeds: dict[str, PeerFeed] = {}
        self._nexts: dict[Partition, int] = {}  # what this run has read, durable or not
        self._registry = RegistryClient(self._address.registry)
        try:
            self._link = PeerLink(self._address, self._name)
        except BaseException:
            self._registry.close()
            raise

    def batches(self) -> Iterator[SourceBatch]:
        """See Source."""
        self._check_silence()
        while True:
            self._given = self._setting.feeds()
            yield from self._begin()
            while self._setting.feeds() is self._given:
                if self._is_asked():
                    return
                self._require_anchor()
                batch = self._read()
                self._save_if_due()
                yield batch

    def _asked(self) -> str | None:
        return self._setting.resyncs().get(self._name)

    def _is_asked(self) -> bool:
        """Whether somebody asked since to read everything again."""
        return self._asked() != self._place.asked

    # ── beginning ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _require_anchor(self) -> None:
        if self._anchor not in self._setting.anchors():
            raise Misconfigured(
                f"source {self._name}",
                f"its anchor {self._anchor} is not uploaded here: nothing is taken from that mesh",
                fix="if it is to be trusted: `mesh anchor add <its public key>`",
            )

    def _begin(self) -> Iterator[SourceBatch]:
        """Trust, then places; the truncates of an accepted gap come first."""
        statement = self._link.statement()
        former, is_resync = self._place, self._place.phase == RESYNC
        now = former.reopened() if is_resync else former
        self._feeds = {}
        for entry in self._given.values():
            topic = topic_of(entry.contract, self._address.user)
            self._feeds[topic] = PeerFeed(entry, topic, self._registry.schema, now.shift)
        cluster, bounds = self._link.look(self._feeds)
        check_trust(statement, self._anchor, cluster, self._name)
        if missing := sorted(set(self._feeds) - {topic for topic, _ in bounds}):
            fix = "ask its people for an active grant; its topic is what the contract's gov.table names"
            raise Misconfigured(f"source {self._name}", f"the other mesh has no {', '.join(missing)} for us", fix=fix)
        if now.cluster not in (None, cluster):
            raise self._gap(f"the other mesh's Kafka was made anew: it is {cluster}, and was {now.cluster}")
        self._place = now.found_on(cluster)
        if is_resync:
            self._nexts = {}
            yield self._emptied(former.newest_epoch)
        starts = {place: self._start(place, *ends) for place, ends in bounds.items()}
        self._link.follow(starts)
        _logger.info("%s: reads %d topics of mesh %s", self._name, len(self._feeds), self._anchor[:16])

    def _emptied(self, epoch: int) -> SourceBatch:
        batch = SourceBatch()
        now_ms = int(time.time() * 1000)
        for feed in self._feeds.values():
            entry = feed.entry
            value = feed.emptied(self._name, epoch, now_ms)
            batch.records += [(entry.feed, TRUNCATE_KEY, value, number, None) for number in range(entry.partitions)]
            batch.count(entry.feed, "t", 1, len(value))
        batch.marks.append((len(batch.records), PeerMark(shift=self._place.shift, is_emptied=True)))
        return batch

    def _start(self, place: Partition, low: int, high: int) -> int:
        start = self._nexts.get(place, self._place.nexts.get(place))
        if start is None:
            return low
        if not low <= start <= high:  # KF-12
            raise self._gap(f"{place[0]} [{place[1]}] has {low} to {high}, and we are at {start}")
        return start

    def _check_silence(self) -> None:
        silence = time.time() - (self._place.read_at or time.time())
        if self._place.phase == READY and silence > SILENCE_SECONDS:
            raise self._gap(f"it was not read for {silence / 86_400:.1f} days, and deletes stay for seven")

    def _gap(self, breach: str) -> ContractBroken:
        fix = f"`mesh resync {self._name}` empties its feeds and reads everything that stands there again"
        return ContractBroken(f"source {self._name}", breach, fix=fix)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self) -> SourceBatch:
        messages = self._link.read(WAIT_SECONDS)
        batch = SourceBatch()
        if not messages:
            return batch
        self._recheck([message for message in messages if message.topic() == IDENTITY])
        nexts: dict[Partition, int] = {}
        for message in messages:
            topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
            if (feed := self._feeds.get(topic)) is not None:
                feed.take(batch, partition, _record_of(message, offset))
                nexts[topic, partition] = offset + 1
        self._nexts |= nexts
        newest = max((feed.newest_epoch for feed in self._feeds.values()), default=0)
        mark = PeerMark(shift=self._place.shift, nexts=nexts, newest_epoch=newest)
        batch.marks.append((len(batch.records), mark))
        return batch

    def _recheck(self, messages: Sequence[Message]) -> None:
        """A new statement: whoever is there now must still be the anchored one. What came with it is not taken before."""
        if messages:
            cluster, _ = self._link.look(())
            check_trust(statement_in(messages), self._anchor, cluster, self._name)

    # ── confirming ───────────────────────────────────────────────────────────────────────────────────────────────────

    def confirm(self, mark: Any) -> None:
        """See Source. A mark is a PeerMark."""
        self._place = self._place.confirmed(mark)
        self._is_dirty = True
        self._save_if_due()

    def _save_if_due(self) -> None:
        since = time.monotonic() - self._saved_at
        if since > (SAVE_SECONDS if self._is_dirty else SAVE_IDLE_SECONDS):
            self._save()

    def _save(self) -> None:
        if self._place.phase != READY:
            return  # the truncates of an accepted gap are not durable yet: the next start writes them again
        self._place = self._place.kept_at(time.time())
        self._setting.progress.save(self._name, self._place.to_json())
        self._saved_at = time.monotonic()
        if self._is_dirty:
            self._link.acknowledge(self._place.nexts)
        self._is_dirty = False

    def close(self) -> None:
        """See Source."""
        try:
            if self._is_dirty:
                self._save()
        except MeshError as error:
            _logger.warning("%s: the last place was not stored; a little comes again: %s", self._name, error)
        with closing(self._link), closing(self._registry):
            self._feeds = {}


def _record_of(message: Message, offset: int) -> Record:
    key, value, headers = message.key(), message.value(), message.headers()
    return Record(offset, key, value, headers, message.timestamp()[1])  # pyright: ignore[reportArgumentType]  -- plain bytes
