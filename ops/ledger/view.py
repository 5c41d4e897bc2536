"""View: the ledger of the running mesh, for the terminal and for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.table import Table

from ops.command.terminal import report_console
from ops.kinds.sinks import SINKS
from ops.ledger.balance import Balance, Line, balance_of
from ops.own_topic.readers import sink_of
from ops.settings import Settings
from ops.watch.lag import delivery_group
from ops.watch.offsets.confirmed import Confirmed
from schemas.agreement.directory import Directory
from schemas.change import Partition
from schemas.errors import Misconfigured
from schemas.feed import LEDGER
from schemas.log.control.follower import read_directory
from schemas.log.control.store import ControlReader
from sinks.kind import is_delivered, is_read_itself

STYLES = {"red": "bold red", "balanced": "green", "behind": "yellow", "unsettled": "yellow", "unread": "dim"}


class LedgerReader:
    """Reads on from what it has read. Raises Transient."""

    def __init__(self, settings: Settings) -> None:
        self._reader = ControlReader(settings.kafka, LEDGER)
        self._confirmed = Confirmed(settings.kafka)

    def balance(self, directory: Directory) -> Balance:
        """As of now."""
        return balance_of(self._reader.all(), directory, self._read_elsewhere(directory), datetime.now(UTC))

    def _read_elsewhere(self, directory: Directory) -> dict[str, Mapping[Partition, int] | None]:
        """Of each grant whose topic its subscriber reads itself, what its group confirmed; None where it confirms nothing here."""
        found: dict[str, Mapping[Partition, int] | None] = {}
        groups: dict[str, str] = {}
        for grant_id, entry in directory.grants.items():
            sink = sink_of(directory, entry.grant.subscriber, entry.grant.sink)
            if is_read_itself(sink, SINKS):
                groups[grant_id] = delivery_group(entry.grant.subscriber, entry.grant.sink)
            elif not is_delivered(sink, SINKS):
                found[grant_id] = None
        confirmed = self._confirmed.of(set(groups.values())) if groups else {}
        return {**found, **{grant_id: confirmed[group] for grant_id, group in groups.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReport:
    """What `mesh ledger` says."""

    feeds: Sequence[Line]
    subscriptions: Sequence[Line]

    @property
    def is_balanced(self) -> bool:
        """Whether no line is red."""
        return not any(line.standing == "red" for line in (*self.feeds, *self.subscriptions))

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "balanced": self.is_balanced,
            "feeds": {line.name: feed_json(line) for line in self.feeds},
            "subscriptions": {line.name: subscription_json(line) for line in self.subscriptions},
        }

    def render(self) -> None:
        """For people."""
        report_console().print(self._tables())

    def _tables(self) -> Group:
        feeds = _table("Feeds: captured and read (对账)", ("feed", "captured", "read", "valid", "rejected", "adopted"))
        for line in self.feeds:
            captured = f"{line.written:,}" if line.is_written_here else "derived"
            _add(feeds, line, feed_json(line), ("read", "valid", "rejected", "adopted"), captured)
        subscriptions = _table(
            "Subscriptions: routed and delivered", ("subscription", "routed", "read", "acknowledged", "dead", "adopted")
        )
        for line in self.subscriptions:
            _add(subscriptions, line, subscription_json(line), ("written", "read", "acknowledged", "dead", "adopted"))
        found = [each for line in (*self.feeds, *self.subscriptions) for each in line.differences]
        notes = [f"[bold red]✗[/] {each}" for each in found]
        tables = [table for table in (feeds, subscriptions) if table.row_count]
        return Group(*(part for table in tables for part in (table, "")), *notes)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column(columns[0])
    for name in columns[1:]:
        table.add_column(name, justify="right")
    table.add_column("standing")
    return table


def _add(table: Table, line: Line, figures: Mapping[str, Any], names: Sequence[str], *cells: str) -> None:
    standing = f"[{STYLES[line.standing]}]{line.standing}[/]"
    table.add_row(line.name, *cells, *(f"{figures[name]:,}" for name in names), standing)


def feed_json(line: Line) -> dict[str, Any]:
    """One feed's line. `valid` and `rejected` count records that are no tombstones."""
    rejected = line.counted("rejected")
    counted = sum(
        each.reader.counts["to"] - each.reader.counts["from"]
        for each in line.handovers
        if each.reader and "to" in each.reader.counts
    )
    return {**line.to_json(), "valid": counted - line.counted("tombstones") - rejected, "rejected": rejected}


def subscription_json(line: Line) -> dict[str, Any]:
    """One subscription's line. `acknowledged`: at the subscriber, of the records that were read."""
    dead, readers = line.counted("dead"), [each.reader for each in line.handovers if each.reader]
    settled = sum(reader.settled - reader.sums.begin for reader in readers)
    waiting = sum(max(0, reader.sums.end.offset - reader.settled) for reader in readers)
    own = [each for each in line.handovers if each.confirmed is not None]
    return {
        **line.to_json(),
        "acknowledged": sum(each.confirmed_records for each in own) if own else max(0, settled - dead),
        "dead": dead,
        "waiting": sum(each.waiting_records for each in own) if own else waiting,
        "subscriber": line.subscriber,
        "feed": line.feed,
    }


def ledger(settings: Settings, *, feed: str | None = None, subscriber: str | None = None) -> LedgerReport:
    """The ledger as of now, of one feed or one subscriber if asked. Raises Misconfigured for names that are not there."""
    directory = read_directory(settings.kafka)
    if feed is not None and feed not in directory.feeds:
        raise Misconfigured(f"feed {feed}", "does not exist", fix="`mesh status` lists the feeds")
    if subscriber is not None and subscriber not in directory.subscribers:
        raise Misconfigured(f"subscriber {subscriber}", "does not exist", fix="`mesh ledger` lists all subscriptions")
    balance = LedgerReader(settings).balance(directory)
    return LedgerReport(
        feeds=[line for name, line in balance.feeds.items() if subscriber is None and feed in {None, name}],
        subscriptions=[
            line
            for line in balance.subscriptions.values()
            if subscriber in {None, line.subscriber} and feed in {None, line.feed}
        ],
    )
