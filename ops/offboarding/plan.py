"""What ends when something leaves the mesh for good, worked out from the directory; nothing is done here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ops.known_names import did_you_mean, few
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import AtEnd
from schemas.agreement.offboarding import Offboarding
from schemas.errors import Misconfigured
from schemas.feed import dead_letter_topic
from streams.engine.inbox.intake import feeds_of
from streams.flows import FLOWS

What = Literal["agency", "source", "feed", "subscriber"]
Target = tuple[What, str]
"""What leaves, and its name, as `mesh offboard` takes them."""


@dataclass(slots=True, kw_only=True)
class Plan:
    """What leaves and what ends with it; `agencies` are their new records, None for those that leave whole."""

    targets: Sequence[Target]
    feeds: dict[str, FeedEntry] = field(default_factory=dict[str, FeedEntry])
    grants: dict[str, GrantEntry] = field(default_factory=dict[str, GrantEntry])
    agencies: dict[str, Agency | None] = field(default_factory=dict[str, "Agency | None"])
    slots: dict[str, tuple[SourceConfig, Target]] = field(default_factory=dict[str, tuple[SourceConfig, Target]])

    @classmethod
    def of(cls, directory: Directory, targets: Sequence[Target]) -> Plan:
        """Work it out. Raises Misconfigured for a name that never was, and for what a flow writes."""
        plan = cls(targets=targets)
        for target in targets:
            plan._take(directory, target)
        leaving = {name for what, name in targets if what == "subscriber"}
        plan.grants = {
            grant_id: entry
            for grant_id, entry in sorted(directory.grants.items())
            if entry.grant.feed in plan.feeds or entry.grant.subscriber in leaving
        }
        plan._take_idle_sources(directory)
        return plan

    def _take(self, directory: Directory, target: Target) -> None:
        what, name = target
        agency = directory.agencies.get(name.partition(".")[0])
        if what == "subscriber":
            _require(name in directory.subscribers, directory, target)
            return
        if what == "feed":
            _require(name in directory.feeds, directory, target)
            found = {name} & directory.feeds.keys()
        else:
            sources = [
                each
                for each in (agency.sources if agency else ())
                if what == "agency" or name == f"{agency.agency if agency else ''}.{each.name}"
            ]
            _require(agency is not None and (what == "agency" or bool(sources)), directory, target)
            if agency is None:
                return
            found = self._take_sources(directory, agency, sources, target)
        if derived := sorted(feed for feed in found if directory.is_derived(feed)):
            fix = "name the sources and feeds that are captured; end the grants on the others by `mesh grant <id> REVOKED`"
            raise Misconfigured(
                f"{what} {name}", f"{few(derived)}: a flow writes it, and stands still without it", fix=fix
            )
        self.feeds.update({feed: directory.feeds[feed] for feed in found})

    def _take_sources(
        self, directory: Directory, agency: Agency, sources: Sequence[SourceConfig], target: Target
    ) -> set[str]:
        """Take sources out of their agency, or the agency with all of them; the feeds that they have."""
        if target[0] == "agency":
            self.agencies[agency.agency] = None
        elif sources and (former := self.agencies.get(agency.agency, agency)) is not None:
            left = tuple(each for each in former.sources if each not in sources)
            self.agencies[agency.agency] = replace(former, sources=left)
        captured = [each for each in sources if not each.is_flow]
        self.slots.update({f"{agency.agency}.{each.name}": (each, target) for each in captured})
        names = {each.name for each in sources}
        return {
            feed
            for feed, entry in directory.feeds.items()
            if entry.contract.agency == agency.agency and entry.contract.source in names
        }

    def _take_idle_sources(self, directory: Directory) -> None:
        """A source whose last feed leaves keeps no slot: its database's log would grow."""
        for what, name in self.targets:
            if what == "feed" and name in self.feeds:
                contract = self.feeds[name].contract
                source, agency = contract.source_name, directory.agencies.get(contract.agency)
                config = agency.source(contract.source) if agency else None
                if config is not None and source not in self.slots and not feeds_left(directory, source, self.feeds):
                    self.slots[source] = (config, (what, name))

    def grants_in_words(self, *, is_abandoned: bool) -> dict[str, str]:
        """What becomes of what each grant delivered."""
        words = {AtEnd.REMOVE: "what it delivered is removed at", AtEnd.KEEP: "what it delivered stays at"}
        return {
            grant_id: f"what it delivered stays at {entry.grant.subscriber}, which is not asked"
            if is_abandoned
            else f"{words[entry.grant.at_end]} {entry.grant.subscriber}"
            for grant_id, entry in self.grants.items()
        }

    def topics(self) -> list[str]:
        """The topics that nobody writes any more; they are kept."""
        names = [*self.feeds, *(entry.topic for entry in self.grants.values())]
        return [topic for name in names for topic in (name, dead_letter_topic(name))]

    def notices(self) -> list[str]:
        """Which flows lose a feed."""
        readers = feeds_of(FLOWS)
        return [
            f"flow {flow.name} reads {feed} and learns nothing new of it; what it made of its rows stays"
            for feed in self.feeds
            for flow in readers.get(feed, ())
        ]


def feeds_left(directory: Directory, source: str, but: dict[str, FeedEntry] | None = None) -> list[str]:
    """The feeds of a source `<agency>.<source>`, but for some."""
    return [
        feed
        for feed, entry in directory.feeds.items()
        if entry.contract.source_name == source and feed not in (but or {})
    ]


def slots_of(directory: Directory, targets: Sequence[Target]) -> list[Offboarding]:
    """What sources that these targets ended still hold."""
    found: list[Offboarding] = []
    commands = {f"{what} {name}" for what, name in targets}
    for slot in directory.slots_due():
        ours = {f"agency {slot.name.partition('.')[0]}", f"source {slot.name}", slot.command}
        if commands & ours:
            found.append(slot)
    return found


def _require(is_there: bool, directory: Directory, target: Target) -> None:
    what, name = target
    if is_there or directory.left(what, name):
        return
    known: dict[What, Sequence[str]] = {
        "agency": sorted(directory.agencies),
        "source": sorted(f"{code}.{each.name}" for code, entry in directory.agencies.items() for each in entry.sources),
        "feed": sorted(directory.feeds),
        "subscriber": sorted(directory.subscribers),
    }
    raise Misconfigured(f"{what} {name}", "is not in the mesh", fix=did_you_mean(name, known[what]))
