"""Catalogue (资源目录): what can be subscribed to, from whom, under what conditions, how fresh it is, and who has it.

Taken from the contracts that run, so it cannot differ from what flows. `mesh catalogue` prints it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from ops.city.city import GUANGZHOU
from ops.command.terminal import report_console
from ops.metrics.metric import origin_of
from ops.onboarding.work import Work, load_works
from ops.settings import Settings
from ops.show.pinyin import is_maybe_pinyin, sounds
from ops.watch.lag import LagReader
from schemas.agreement.directory import Directory, FeedEntry
from schemas.log.control.follower import read_directory
from schemas.resource.metadata import Resource, resource_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One feed of the catalogue.

    `provider` is the agency's code, `owner` its name; `sharing` is the sharing class (共享类型), `opening` whether the public may
    have it (开放属性), `basis` the legal basis; `freshness_slo_seconds` is what the contract promises, `changed_seconds_ago` when
    the newest change was written (None: never, or nobody could be asked); `subscribers` have an active grant; `works` are the key
    works (政府重点工作) whose templates grant it, by every name that they have.
    """

    feed: str
    title: str
    provider: str
    owner: str
    origin: str
    version: int
    key: Sequence[str]
    columns: int
    sharing: str | None
    opening: str | None
    basis: str | None
    update_cycle: str | None
    freshness_slo_seconds: int | None
    changed_seconds_ago: float | None
    subscribers: Sequence[str]
    works: Sequence[str]
    resource: Resource | None
    """Its core metadata (核心元数据); None where its agency is not known."""

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {**asdict(self), "resource": self.resource.to_json() if self.resource else None}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The entries, by feed."""

    entries: Sequence[Entry]

    def to_json(self) -> dict[str, Any]:
        """The report of `mesh catalogue --json`; the fields' names are stable."""
        return {"feeds": [entry.to_json() for entry in self.entries]}

    def render(self) -> None:
        """Print the table."""
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for name in (
            "feed",
            "code 代码",
            "title 名称",
            "owner 提供方",
            "class 共享",
            "open 开放",
            "changed",
            "promised",
            "subscribers 订阅方",
        ):
            table.add_column(name, justify="right" if name in {"changed", "promised"} else "left")
        for entry in self.entries:
            promised = "" if entry.freshness_slo_seconds is None else f"{entry.freshness_slo_seconds:,} s"
            table.add_row(
                entry.feed,
                entry.resource.code if entry.resource else "",
                entry.title,
                entry.owner,
                entry.sharing or "",
                entry.opening or "",
                _age(entry.changed_seconds_ago),
                promised,
                ", ".join(entry.subscribers),
            )
        console = report_console()
        console.print(table)
        owners = {entry.provider for entry in self.entries}
        console.print(f"{len(self.entries)} feeds of {len(owners)} agencies", style="bold")


def catalogue(settings: Settings, words: Sequence[str] = (), sharing: str | None = None) -> Catalogue:
    """The catalogue of a running mesh: entries that have every word somewhere in their names, of one sharing class or of any.

    Raises Transient when the brokers do not answer.
    """
    directory = read_directory(settings.kafka)
    with closing(LagReader(settings.kafka)) as reader:
        newest = reader.newest_at_ms(directory.feeds)
    return compile_catalogue(directory, newest, words=words, sharing=sharing, works=load_works(GUANGZHOU))


def compile_catalogue(
    directory: Directory,
    newest_at_ms: Mapping[str, int],
    *,
    words: Sequence[str] = (),
    sharing: str | None = None,
    works: Sequence[Work] = (),
    clock: Callable[[], float] = time.time,
) -> Catalogue:
    """The catalogue of a directory; `newest_at_ms` says when each feed's newest record was written."""
    now = clock()
    subscribers: dict[str, set[str]] = {}
    for granted in directory.grants.values():
        if granted.grant.is_active(datetime.fromtimestamp(now, UTC)):
            subscribers.setdefault(granted.grant.feed, set()).add(granted.grant.subscriber)

    def entry_of(feed: str, entry: FeedEntry) -> Entry:
        contract, gov = entry.contract, entry.contract.gov
        agency = directory.agencies.get(contract.agency)
        newest = newest_at_ms.get(feed)
        return Entry(
            feed=feed,
            title=gov.get("resource") or contract.doc,
            provider=contract.agency,
            owner=agency.name if agency else "",
            origin=origin_of(directory, feed),
            version=entry.version,
            key=contract.key,
            columns=len(contract.fields),
            sharing=gov.get("class"),
            opening=gov.get("open"),
            basis=gov.get("basis"),
            update_cycle=gov.get("updateCycle"),
            freshness_slo_seconds=gov.get("freshnessSloSeconds"),
            changed_seconds_ago=None if newest is None else max(0.0, now - newest / 1000),
            subscribers=sorted(subscribers.get(feed, ())),
            resource=resource_of(contract, agency, entry.published_on) if agency else None,
            works=[name for work in works if feed in work.feeds for name in work.names],
        )

    entries = [entry_of(feed, entry) for feed, entry in sorted(directory.feeds.items())]
    return Catalogue([entry for entry in entries if _is_meant(entry, words, sharing)])


def _is_meant(entry: Entry, words: Sequence[str], sharing: str | None) -> bool:
    code = entry.resource.code if entry.resource else ""
    names = f"{entry.feed} {code} {entry.title} {entry.owner} {' '.join((*entry.subscribers, *entry.works))}".lower()
    return sharing in {None, entry.sharing} and all(word.lower() in names or _sounds_in(entry, word) for word in words)


def _sounds_in(entry: Entry, word: str) -> bool:
    """Whether a word is the pinyin of the entry's title, owner or works, or their first letters."""
    if not is_maybe_pinyin(word):
        return False
    wanted = word.lower().replace("'", "").replace(" ", "")
    return any(wanted in sounds(name) for name in (entry.title, entry.owner, *entry.works))


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"
