"""Listing: the grants of the mesh as two sides look at them (HANDBOOK §6.1): who gets mine, and what do I get."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from ops.command.terminal import SHANGHAI, report_console
from ops.known_names import did_you_mean
from ops.settings import Settings
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Status
from schemas.agreement.grant_life import CHINESE
from schemas.errors import Misconfigured
from schemas.log.control.follower import read_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One grant. `successor` is the state of a change that waits; `since` that of its last step; both ends are UTC."""

    grant_id: str
    state: str
    subscriber: str
    provider: str
    feed: str
    purpose: str
    since: str | None
    due_at: str | None
    is_overdue: bool
    successor: str | None
    valid_to: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The grants that were asked about, by id."""

    lines: Sequence[Line]

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"grants": [asdict(line) for line in self.lines]}

    def render(self) -> None:
        """For people."""
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for name in ("grant 授权", "state", "subscriber", "provider", "purpose 用途", "since", "answer due"):
            table.add_column(name, overflow="fold")
        for line in self.lines:
            state = f"{line.state} {CHINESE[Status(line.state)]}"
            state += f", change {line.successor}" if line.successor else ""
            due = Text(
                _day(line.due_at) + (" overdue 逾期" if line.is_overdue else ""), "red" if line.is_overdue else ""
            )
            table.add_row(line.grant_id, state, line.subscriber, line.provider, line.purpose, _day(line.since), due)
        console = report_console()
        console.print(table)
        console.print(f"{len(self.lines)} grants")


def listing(
    settings: Settings, state: Status | None, subscriber: str | None, provider: str | None, *, is_overdue: bool
) -> Listing:
    """The grants that fit. Raises Misconfigured for a subscriber or provider that there is not."""
    directory = read_directory(settings.kafka)
    for name, known, what in (
        (subscriber, directory.subscribers, "subscriber"),
        (provider, directory.agencies, "agency"),
    ):
        if name is not None and name not in known:
            raise Misconfigured(f"{what} {name}", "is not there", fix=did_you_mean(name, known))
    every = lines(directory, datetime.now(UTC))
    return Listing(
        lines=[
            line
            for line in every
            if (state is None or str(state) in {line.state, line.successor})
            and subscriber in {None, line.subscriber}
            and provider in {None, line.provider}
            and (line.is_overdue or not is_overdue)
        ]
    )


def lines(directory: Directory, now: datetime) -> Iterator[Line]:
    """Every grant, by id."""
    for grant_id, entry in sorted(directory.grants.items()):
        yield _line(grant_id, entry, provider_of(directory, entry.grant.feed), now)


def provider_of(directory: Directory, feed: str) -> str:
    """The agency whose feed it is; the code in its name where it has gone."""
    entry = directory.feeds.get(feed)
    return entry.contract.agency if entry else feed.partition(".")[0]


def _line(grant_id: str, entry: GrantEntry, provider: str, now: datetime) -> Line:
    grant, life = entry.grant, entry.life
    return Line(
        grant_id=grant_id,
        state=str(entry.state(now)),
        subscriber=grant.subscriber,
        provider=provider,
        feed=grant.feed,
        purpose=grant.purpose,
        since=life.history[-1].at.isoformat() if life.history else None,
        due_at=life.due_at.isoformat() if life.due_at and entry.is_waiting else None,
        is_overdue=entry.is_overdue(now),
        successor=str(entry.successor.status) if entry.successor else None,
        valid_to=grant.valid_to.isoformat() if grant.valid_to else None,
    )


def _day(moment: str | None) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if moment else ""
