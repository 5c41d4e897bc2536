"""What pushes bring along as a stated source: the next batch of a feed, and what its sender is answered once Kafka has it.

200 is answered when every change of the batch is durable in Kafka, and its key is in the register. A kill between the two leaves the
key in the file of the rows that stand: it is entered at the next start, before any other batch is looked at (PU-01, PU-05).
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from producers.pushed.address import push_address
from producers.pushed.answer import refused
from producers.pushed.desk import PushDesk, PushedBatch
from producers.pushed.options import PushOptions
from producers.pushed.register import PushRegister, TakenBatch, answer_of
from producers.pushed.row import PushedRows
from producers.pushed.server import PushServer
from producers.pushed.statement import PushStatement
from producers.source import Source, SourceSetting
from producers.stated.records import StatedRows
from producers.stated.source import open_stated
from producers.stated.teller import TableStatement
from producers.stated.zone import zone_of
from schemas.agreement.directory import FeedEntry

_logger = logging.getLogger(__name__)


def open_pushed(setting: SourceSetting) -> Source:
    """The source of kind `push`; its endpoint listens. Raises Misconfigured, StandingBy."""
    options = setting.options(PushOptions)
    zone_of(options.time_zone, setting.name)
    return open_stated(setting, lambda folder: PushTeller(setting, options, folder))


class PushTeller:
    """See `producers.stated.teller.Teller`."""

    connector = "push"

    def __init__(self, setting: SourceSetting, options: PushOptions, folder: Path) -> None:
        self.policy = options
        self._setting = setting
        self._zone = zone_of(options.time_zone, setting.name)
        self._begun: set[str] = set()
        self._rows: dict[str, PushedRows] = {}
        self._at: dict[str, PushedBatch] = {}
        subject = f"source {setting.name}, connection"
        address = push_address(setting.address, subject)
        entrance = address.entrance(setting.entrance(), subject)
        incoming = folder / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)  # of requests that were never answered
        incoming.mkdir(parents=True)
        self._register = PushRegister(folder / "batches.sqlite", options.keep_seconds)
        self._desk = PushDesk(options.waiting_max, options.answer_seconds)
        self._server = PushServer(
            name=setting.name,
            address=address,
            entrance=entrance,
            options=options,
            desk=self._desk,
            register=self._register,
            folder=incoming,
        )
        try:
            self._server.start()
        except BaseException:
            self._register.close()
            raise

    def rows_of(self, entry: FeedEntry) -> StatedRows:
        """See Teller."""
        self._rows[entry.feed] = PushedRows(entry, self._zone, self.policy.op_column)
        self._desk.entries = {**self._desk.entries, entry.feed: entry}
        return StatedRows(entry, self._zone, is_sheet=False)

    def look(self, entry: FeedEntry, about: Mapping[str, Any]) -> TableStatement | None:
        """See Teller."""
        feed = entry.feed
        self._forget_others()
        if feed not in self._begun:
            self._begun.add(feed)
            if "key" in about:
                self._enter(feed, about)  # a kill may have come before
        is_empty = about["epoch"] > 1 and about["number"] == 0
        if is_empty:
            self._say_empty(feed)
        while (batch := self._desk.take(feed)) is not None:
            if (known := self._register.find(feed, batch.key)) is not None:
                self._desk.settle(feed, batch.sum, answer_of(known, batch.sum))
            elif is_empty and not batch.is_whole:
                self._desk.settle(feed, batch.sum, _WHOLE_FIRST)
            else:
                self._at[feed] = batch
                return PushStatement(batch, self._rows[feed], batch_name(feed, batch.key))
        return None

    def _forget_others(self) -> None:
        """Feeds that were offboarded take no rows."""
        given = self._setting.feeds()
        if self._desk.entries.keys() - given.keys():
            self._desk.entries = {feed: entry for feed, entry in self._desk.entries.items() if feed in given}

    def _say_empty(self, feed: str) -> None:
        reason = (
            "it is to be stated anew, and a push source cannot ask for that; subscribers keep what they have until then"
        )
        fix = "let the department send the whole table once, with `?mode=full`; only such a batch is taken before"
        self._setting.incidents.begin("feed", feed, state="stopped", reason=reason, fix=fix)

    def is_present(self, entry: FeedEntry, about: Mapping[str, Any]) -> bool:
        """See Teller. Nobody is kept waiting for a person: the sender is told, and sends it again once it is accepted."""
        why = (
            f"it would delete {about['deleted']:,} of {about['held']:,} rows, more than delete_share_max "
            f"({self.policy.delete_share_max:g}) allows; nothing of it was taken"
        )
        fix = (
            f'if so many rows are gone: let the mesh\'s people write `accept: ["{about["token"]}"]` among the options of source '
            f"{self._setting.name} and `mesh onboard` the folder, then send the same again"
        )
        self._desk.settle(entry.feed, about["sum"], refused(409, why, fix, token=about["token"]))
        _logger.warning("%s: %s, %s is refused: %s", self._setting.name, entry.feed, about["name"], why)
        return False

    def taken(self, entry: FeedEntry, about: Mapping[str, Any]) -> None:
        """See Teller."""
        self._desk.settle(entry.feed, about["sum"], answer_of(self._enter(entry.feed, about), about["sum"]))

    def _enter(self, feed: str, about: Mapping[str, Any]) -> TakenBatch:
        """What the batch is answered, now and for as long as its key is known."""
        document = {
            "taken": True,
            "feed": feed,
            "batch": about["name"],
            "rows": about["stated"],
            "created": about["created"],
            "updated": about["updated"],
            "deleted": about["deleted"],
        }
        taken = TakenBatch(about["sum"], document)
        self._register.enter(feed, about["key"], taken)
        return taken

    def refused(self, entry: FeedEntry, reason: str) -> None:
        """See Teller."""
        batch = self._at[entry.feed]
        fix = "correct the batch, and send it again"
        self._desk.settle(entry.feed, batch.sum, refused(422, reason, fix))
        _logger.warning(
            "%s: %s, %s is refused: %s", self._setting.name, entry.feed, batch_name(entry.feed, batch.key), reason
        )

    def forget(self, entry: FeedEntry) -> None:
        """See Teller. What was answered stays answered."""

    def close(self) -> None:
        """See Teller."""
        self._desk.close()
        self._server.close()
        self._register.close()


def batch_name(feed: str, key: str) -> str:
    """What a batch is called in texts: its key is the sender's, and may say what it should not."""
    return f"batch {hashlib.sha256(f'{feed} {key}'.encode()).hexdigest()[:12]}"


_WHOLE_FIRST = refused(
    409,
    "the feed is to be stated anew, and a list of changes does not do that",
    "send the whole table once, with `?mode=full`; then changes again",
)
