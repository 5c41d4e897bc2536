"""`mesh verify`: what each subscriber holds, compared with its source, row for row (对账).

Counters prove nothing here: the expected rows are worked out from the source's table by ops/proof/compare.py, which shares no
code with the hops. A feed that a flow writes is its own source: the rows that stand in it. A copy of what lives is behind by
what is under way, so a comparison that is not exact is made again until it is or the time is up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from ops.command.terminal import report_console
from ops.former_connections import settle
from ops.kinds.sinks import SINKS
from ops.own_topic.readers import sink_of
from ops.proof.compare import Comparison, compare
from ops.proof.sources import Sources
from ops.settings import Connections, Settings
from ops.trust.hash_key import HashKeys, needs_key
from ops.watch.flow_backlog import Backlog
from ops.watch.lag import LagReader
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import AtEnd
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import MeshError, Misconfigured, Transient
from schemas.log.control.follower import read_directory
from sinks.copy import Copy
from sinks.kind import is_read_itself
from sinks.sink import SinkSetup

PAUSE_SECONDS = 1.0
UNREADABLE = "not readable from here"
FLOWS_WITHIN_SECONDS = 1_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A comparison per grant; None for one whose subscriber's system cannot be read from here (a webhook).

    `unread` says why of those that should have been compared and could not be. `own` are read by their subscribers themselves.
    """

    comparisons: Mapping[str, Comparison | None]
    unread: Mapping[str, MeshError] = field(default_factory=dict[str, MeshError])
    own: frozenset[str] = frozenset()

    @property
    def is_exact(self) -> bool:
        """Whether everything that can be compared is exact, and something was."""
        compared = [comparison for comparison in self.comparisons.values() if comparison is not None]
        return bool(compared) and not self.unread and all(comparison.is_exact for comparison in compared)

    def if_anything_was_read(self) -> Verified:
        """This, or raise what was in the way of every comparison."""
        if self.unread and not any(self.comparisons.values()):
            raise next(iter(self.unread.values()))
        return self

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        entries = {name: entry.to_json() if entry else None for name, entry in self.comparisons.items()}
        return {
            "exact": self.is_exact,
            "subscriptions": entries,
            "unread": {name: str(error) for name, error in self.unread.items()},
            "read_by_subscriber": sorted(self.own),
        }

    def render(self) -> None:
        """For people: what is not exact, and how much was compared."""
        console = report_console()
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("subscription")
        for name in ("expected", "found", "missing", "surplus", "different", "withdrawn"):
            table.add_column(name, justify="right")
        for name, entry in self.comparisons.items():
            if entry is None:
                why = "nothing to read back: its subscriber reads the topic itself" if name in self.own else UNREADABLE
                table.add_row(name, why, style="red" if name in self.unread else "")
            else:
                counts = (entry.expected, entry.found, entry.missing, entry.surplus, entry.different, entry.withdrawn)
                table.add_row(name, *(f"{count:,}" for count in counts), style="" if entry.is_exact else "red")
        console.print(table)
        for name, why in self.unread.items():
            console.print(f"{name} cannot be compared: {why}", style="red", markup=False, soft_wrap=True)
        rows = sum(entry.expected for entry in self.comparisons.values() if entry)
        verdict = "exact" if self.is_exact else "NOT EXACT"
        console.print(f"{verdict}: {len(self.comparisons)} subscriptions, {rows:,} rows", style="bold")


def verify(name: str, settings: Settings, *, within_seconds: float) -> Verified:
    """Compare one grant, or all active grants of a feed.

    Raises Misconfigured when nothing has that name, Transient when a source or a copy cannot be read within the time.
    """
    directory = read_directory(settings.kafka)
    settle(settings.directory, directory)
    chosen = [entry for entry in _active(directory) if name in {entry.grant.grant_id, entry.grant.feed}]
    over = [entry for entry in _over(directory) if name in {entry.grant.grant_id, entry.grant.feed}]
    if not chosen and name not in {entry.grant.grant_id for entry in over}:
        raise Misconfigured(name, "is no grant and no feed with active grants", fix="`mesh status` lists both")
    verified = _until_exact(settings, directory, chosen, within_seconds, None, lambda _: None)
    left = _until_exact(settings, directory, over, within_seconds, None, lambda _: None)
    # Of those that are over, a feed's comparison shows only what is not as it should be.
    shown = {
        grant_id: found
        for grant_id, found in left.comparisons.items()
        if grant_id == name or grant_id in left.unread or (found and not found.is_exact)
    }
    own = [name for name, found in verified.comparisons.items() if found is None and _is_read_itself(directory, name)]
    return Verified(
        comparisons={**verified.comparisons, **shown}, unread={**verified.unread, **left.unread}, own=frozenset(own)
    ).if_anything_was_read()


def compare_until_exact(
    settings: Settings, *, within_seconds: float, receiver_log: Path, say: Callable[[str], None]
) -> Verified:
    """Compare every active grant; `receiver_log` is what the example city's webhook endpoint kept.

    The sources are at rest: grants on derived feeds are compared once the flows have folded all that there is. As long as
    they get on with that, the time begins anew, up to FLOWS_WITHIN_SECONDS.
    """
    directory = read_directory(settings.kafka)
    with closing(LagReader(settings.kafka)) as lags:
        backlog = Backlog(lags, directory)
        entries = _active(directory)
        verified = _until_exact(settings, directory, entries, within_seconds, receiver_log, say, backlog)
        return verified.if_anything_was_read()


def _active(directory: Directory) -> list[GrantEntry]:
    """The grants that flow now: what an ended one left at its subscriber follows the source no longer."""
    now = datetime.now(UTC)
    return [entry for entry in directory.grants.values() if entry.grant.is_active(now)]


def _over(directory: Directory) -> list[GrantEntry]:
    """The grants that are over, and of which nothing may be left."""
    now = datetime.now(UTC)
    entries = [entry for entry in directory.grants.values() if entry.grant.at_end is AtEnd.REMOVE]
    return [entry for entry in entries if entry.grant.is_over(now) and _is_table(directory, entry)]


def _is_read_itself(directory: Directory, grant_id: str) -> bool:
    grant = directory.grants[grant_id].grant
    return is_read_itself(sink_of(directory, grant.subscriber, grant.sink), SINKS)


def _is_table(directory: Directory, entry: GrantEntry) -> bool:
    subscriber = directory.subscribers.get(entry.grant.subscriber)
    sink = subscriber.sink(entry.grant.sink) if subscriber else None
    return sink is not None and _keeps_rows(sink) and entry.grant.feed in directory.feeds


def _keeps_rows(sink: SinkConfig) -> bool:
    kind = SINKS.get(sink.kind)
    return kind is not None and kind.keeps_rows


def _until_exact(
    settings: Settings,
    directory: Directory,
    entries: Iterable[GrantEntry],
    within_seconds: float,
    receiver_log: Path | None,
    say: Callable[[str], None],
    backlog: Backlog | None = None,
) -> Verified:
    left = {entry.grant.grant_id: entry for entry in sorted(entries, key=lambda entry: entry.grant.grant_id)}
    derived = {name for name, entry in left.items() if directory.is_derived(entry.grant.feed)}
    sources = Sources(settings, directory)
    comparisons: dict[str, Comparison | None] = dict.fromkeys(left)
    unread: dict[str, MeshError] = {}
    told = ""
    started = time.monotonic()
    deadline = started + within_seconds
    while True:
        if backlog is not None and derived:
            backlog.look()
            if backlog.has_moved or backlog.records is None:
                deadline = min(time.monotonic() + within_seconds, started + FLOWS_WITHIN_SECONDS)
        is_last = time.monotonic() >= deadline
        is_ready = is_last or backlog is None or backlog.records == 0
        sources.forget()
        due = [name for name in left if name not in derived or is_ready]
        for name in sorted(due, key=lambda name: left[name].grant.feed):
            try:
                found = comparisons[name] = _compare(sources, left[name], receiver_log)
            except (Transient, Misconfigured) as error:
                unread[name] = error  # one subscriber's trouble is not another's (invariant 8)
                continue
            unread.pop(name, None)
            if found is None or found.is_exact:
                del left[name]
        if is_last or not left.keys() - {name for name, error in unread.items() if isinstance(error, Misconfigured)}:
            return Verified(comparisons=comparisons, unread=unread)
        line = _progress(len(left), len(comparisons), backlog)
        if line != told:
            told = line
            say(line)
        time.sleep(PAUSE_SECONDS)


def _progress(left: int, total: int, backlog: Backlog | None) -> str:
    line = f"{left} of {total} subscriptions are still under way"
    return f"{line}; the flows have {backlog.records:,} records left" if backlog and backlog.records else line


def _compare(sources: Sources, entry: GrantEntry, receiver_log: Path | None) -> Comparison | None:
    grant, directory, connections = entry.grant, sources.directory, sources.connections
    contract = directory.feeds[grant.feed].contract
    copy = _copy(directory, entry, connections, receiver_log)
    if copy is None:
        return None
    if not grant.is_active(datetime.now(UTC)):
        return compare(grant, contract, (), copy)
    hash_key = HashKeys(connections, lambda: directory)(grant.subscriber) if needs_key([grant]) else None
    rows = sources.rows(grant.feed)
    return None if rows is None else compare(grant, contract, rows, copy, hash_key)


def _copy(directory: Directory, entry: GrantEntry, connections: Connections, receiver_log: Path | None) -> Copy | None:
    grant = entry.grant
    sink = directory.subscribers[grant.subscriber].sink(grant.sink)
    if sink is None:
        raise Misconfigured(
            f"grant {grant.grant_id}", f"names no sink of its subscriber: {grant.sink}", fix="correct it"
        )
    kind = SINKS.get(sink.kind)
    if kind is None or kind.copy is None:
        return None
    address_of = connections.sinks.address_of
    return kind.copy(SinkSetup(subscriber=grant.subscriber, sink=sink, address_of=address_of), grant, receiver_log)
