"""Offboarding (退网): an agency, a source, a feed or a subscriber leaves the running mesh for good, without a restart.

The order is the safety. First it is on record what leaves, so that no name comes back, and an interrupted run can be
repeated; then the ends of its grants, which delivery applies at the subscribers (schemas/agreement/ending.py); then the hops
are told that grants and feeds are there no more. What takes longer is done by the hops (ops/offboarding/offboarded.py): the
slot in a department's database, the rows at a subscriber. Topics keep their records, until their retention, or a person,
removes them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import click

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.kinds.sinks import SINKS
from ops.kinds.sources import SOURCES
from ops.known_names import few
from ops.offboarding.offboarded import unconfirmed
from ops.offboarding.plan import Plan, Target, What, feeds_left, slots_of
from ops.own_topic.readers import Readers, sink_of
from ops.settings import Connections, Settings
from ops.trust.audit import audit
from ops.watch.incidents import read as read_incidents
from schemas.agreement.agency import SourceConfig
from schemas.agreement.directory import Directory
from schemas.agreement.offboarding import Kind, Offboarding
from schemas.feed import AGENCIES, CAPTURE, CONTRACTS, ENDINGS, GRANTS, OFFBOARDED, RESYNCS
from schemas.incident import key_of as incident_key
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.rights.login import remove_login
from schemas.log.topics import ensure_control_topics
from schemas.resource.code import codes_of
from sinks.kind import is_confirmed

REASON = "OFFBOARDED"
PAUSE_SECONDS = 0.3


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What ends, or ended; `waits_for` says what the hops have still to do."""

    targets: Sequence[Target]
    feeds: Sequence[str]
    grants: Mapping[str, str]
    held: Mapping[str, str]
    topics: Sequence[str]
    notices: Sequence[str]
    is_new: bool
    is_done: bool = False
    waits_for: list[str] = field(default_factory=list[str])

    @property
    def is_ok(self) -> bool:
        """Whether nothing is left to be done, or was asked for."""
        return not self.waits_for

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "offboards": [f"{what} {name}" for what, name in self.targets],
            "feeds": list(self.feeds),
            "grants": dict(self.grants),
            "sources": dict(self.held),
            "topics_kept": list(self.topics),
            "notices": list(self.notices),
            "done": self.is_done,
            "waits_for": self.waits_for,
        }

    def render(self) -> None:
        """For people."""
        for line in self.lines():
            click.echo(line)

    def lines(self) -> list[str]:
        """One for each thing that ends."""
        names = ", ".join(f"{what} {name}" for what, name in self.targets)
        ends = [f"feed {feed} ends" for feed in self.feeds]
        ends += [f"grant {grant_id} ends: {how}" for grant_id, how in self.grants.items()]
        ends += [
            f"source {source} is captured no more: {held} are dropped in its database"
            for source, held in self.held.items()
        ]
        if self.topics:
            ends.append(
                f"kept with their records, until their retention or a person removes them: {', '.join(self.topics)}"
            )
        ends += [f"note: {notice}" for notice in self.notices]
        if not self.is_done:
            return [
                *ends,
                f"nothing was changed; with --yes {names} leaves for good, and the names are never used again",
            ]
        if not self.is_new:
            ends.append(f"{names}: was offboarded before")
        if self.waits_for:
            return [*ends, *(f"waits: {each}" for each in self.waits_for)]
        return [*ends, f"offboarded: {names}"]


@refusals_told("offboarding")
def offboard(
    settings: Settings,
    targets: Sequence[Target],
    *,
    is_agreed: bool,
    wait_seconds: float,
    abandoned: Collection[Kind] = (),
) -> Outcome:
    """Show what would end with the targets; with `is_agreed` end it. Safe to repeat: it finishes what was interrupted.

    `abandoned`: `slot`, to leave what is held in departments' databases there; `subscriber`, to ask nobody for the end of what
    was delivered to the targets.
    """
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    plan = Plan.of(directory, targets)
    work = _Offboarding(settings, directory, plan, abandoned)
    outcome = Outcome(
        targets=targets,
        feeds=sorted(plan.feeds),
        grants=plan.grants_in_words(is_abandoned="subscriber" in abandoned),
        held={source: _held(config.kind, source) for source, (config, _) in sorted(plan.slots.items())},
        topics=plan.topics(),
        notices=plan.notices(),
        is_new=work.is_new,
    )
    if is_agreed:
        work.end()
        outcome.is_done = True
        outcome.waits_for = _until_done(settings, targets, wait_seconds)
    return outcome


class _Offboarding:
    """One run."""

    def __init__(self, settings: Settings, directory: Directory, plan: Plan, abandoned: Collection[Kind]) -> None:
        self._settings = settings
        self._directory = directory
        self._plan = plan
        self._is_asked = "subscriber" not in abandoned
        self._is_released = "slot" not in abandoned
        self._now = datetime.now(UTC)
        self.is_new = any(directory.left(*target) is None for target in plan.targets)

    def end(self) -> None:
        """Step by step; each is durable before the next, and can be repeated."""
        with closing(AuditedLog(self._settings.kafka, client_id="mesh-offboard")) as log:
            for step in (self._record, self._end_grants, self._close_topics, self._withdraw, self._look_again):
                step(log)
                log.flush(30)

    def _record(self, log: AuditedLog) -> None:
        plan = self._plan
        for what, name in plan.targets:
            if self._directory.left(what, name) is None:
                done_at = None if what == "subscriber" else self._now
                feeds = sorted(plan.feeds) if what != "subscriber" else []
                codes = codes_of(self._directory, feeds)
                self._tell(log, Offboarding(kind=what, name=name, at=self._now, done_at=done_at, codes=codes))
                audit(
                    log.append,
                    f"{what} offboarded",
                    name,
                    feeds=feeds,
                    grants=sorted(plan.grants),
                    asked=self._is_asked,
                )
        slots = {source: self._slot(source, config, *target) for source, (config, target) in plan.slots.items()}
        if not self._is_released:
            for due in slots_of(self._directory, plan.targets):
                slots.setdefault(due.name, self._slot(due.name, due.source, "source", due.name))
        take = self._give_back if self._is_released else self._abandon
        for slot in slots.values():
            take(log, slot)

    def _give_back(self, log: AuditedLog, slot: Offboarding) -> None:
        self._tell(log, slot)
        audit(log.append, "slot to be given back", slot.name, because=slot.command)

    def _slot(self, source: str, config: SourceConfig | None, what: What, name: str) -> Offboarding:
        return Offboarding(kind="slot", name=source, at=self._now, source=config, command=f"{what} {name}")

    def _abandon(self, log: AuditedLog, slot: Offboarding) -> None:
        self._tell(log, replace(slot, done_at=self._now))
        log.append(CAPTURE, slot.name.encode(), None)
        audit(log.append, "slot left behind", slot.name)
        if not slot.command.startswith("feed "):  # its agency may add feeds
            code, _, source = slot.name.partition(".")
            Connections(self._settings.directory).sources.remove(code, source)

    def _tell(self, log: AuditedLog, offboarding: Offboarding) -> None:
        publish(log.append, OFFBOARDED, offboarding.key, offboarding.to_json())

    def _end_grants(self, log: AuditedLog) -> None:
        """What they delivered is to go. Another mesh, which reads by itself, is asked for nothing: its right ends."""
        directory, known = self._directory, self._directory.endings
        endings = {
            entry.topic: entry.ending(REASON)
            for entry in self._plan.grants.values()
            if entry.topic not in known
            and is_confirmed(sink_of(directory, entry.grant.subscriber, entry.grant.sink), SINKS)
        }
        if not self._is_asked:
            leaving = {name for what, name in self._plan.targets if what == "subscriber"}
            due = {
                topic: each for topic, each in known.items() if each.subscriber in leaving and not each.acknowledged_at
            }
            endings = {topic: replace(each, acknowledged_at=self._now) for topic, each in {**due, **endings}.items()}
        for topic, ending in endings.items():
            publish(log.append, ENDINGS, topic, ending.to_json())
            audit(log.append, "end of grant asked", ending.grant_id, topic=topic, asked=self._is_asked)

    def _close_topics(self, _log: AuditedLog) -> None:
        """Before the grants go: who is interrupted here knows them still.

        Whoever reads its topics itself keeps a login that may read of their ends, and nothing else, until it has confirmed them.
        """
        leaving = {name for what, name in self._plan.targets if what == "subscriber"}
        for code in leaving:
            remove_login(self._settings.kafka, code)
        readers = Readers(kafka=self._settings.kafka, directory=self._directory)
        for entry in self._plan.grants.values():
            readers.close(entry.grant, [entry.topic])

    def _withdraw(self, log: AuditedLog) -> None:
        plan = self._plan
        for grant_id in plan.grants:
            log.append(GRANTS, grant_id.encode(), None)
            audit(log.append, "grant withdrawn", grant_id)
        log.flush(30)
        for feed in plan.feeds:
            log.append(CONTRACTS, feed.encode(), None)
            audit(log.append, "feed withdrawn", feed)
        for name in {*plan.feeds, *plan.slots} & self._directory.resyncs.keys():
            log.append(RESYNCS, name.encode(), None)
            audit(log.append, "resync withdrawn", name)
        log.flush(30)  # an agency goes last: it is by it that the next run finds its feeds
        for code, agency in plan.agencies.items():
            if agency is None:
                log.append(AGENCIES, code.encode(), None)
                audit(log.append, "agency withdrawn", code)
            else:
                publish(log.append, AGENCIES, code, agency.to_json())
                audit(log.append, "agency changed", code, sources=[source.name for source in agency.sources])

    def _look_again(self, log: AuditedLog) -> None:
        """Whoever offboards the last two feeds of a source at once sees the other one each."""
        sources = {entry.contract.source_name: (entry.contract, feed) for feed, entry in self._plan.feeds.items()}
        open_ones = sources.keys() - self._plan.slots.keys()
        if not open_ones:
            return
        present = read_directory(self._settings.kafka)
        for source in open_ones:
            contract, feed = sources[source]
            agency = present.agencies.get(contract.agency)
            config = agency.source(contract.source) if agency else None
            known = present.left("slot", source)
            if config is not None and not feeds_left(present, source) and (known is None or known.done_at):
                self._give_back(log, self._slot(source, config, "feed", feed))


def _held(kind: str, source: str) -> str:
    holding = SOURCES[kind].holding if kind in SOURCES else None
    return holding.words(source) if holding else ""


def _until_done(settings: Settings, targets: Sequence[Target], wait_seconds: float) -> list[str]:
    """Wait for what the hops have to do; what they have not done by then."""
    deadline = time.monotonic() + wait_seconds
    while wait_seconds > 0:
        directory = read_directory(settings.kafka)
        slots = slots_of(directory, targets)
        codes = [
            name
            for what, name in targets
            if what == "subscriber" and (entry := directory.left(what, name)) is not None and entry.done_at is None
        ]
        if not slots and not codes:
            break
        if time.monotonic() > deadline:
            return [
                *(_slot_in_words(settings, slot) for slot in slots),
                *(_subscriber_in_words(directory, code) for code in codes),
            ]
        time.sleep(PAUSE_SECONDS)
    return []


def _slot_in_words(settings: Settings, slot: Offboarding) -> str:
    incident = read_incidents(settings.kafka).get(incident_key("source", slot.name))
    if incident is not None:
        return f"source {slot.name}: {incident.reason}\n  fix: {incident.fix}"
    held = _held(slot.source.kind, slot.name) if slot.source else ""
    return f"source {slot.name}: {held or 'what it holds'} is not dropped yet; see that capture runs: `mesh status`"


def _subscriber_in_words(directory: Directory, code: str) -> str:
    topics = few(unconfirmed(directory, code)) or "its record"
    return (
        f"subscriber {code}: its side has not confirmed the end of {topics}; delivery goes on trying\n"
        f"  fix: see that its sinks can be reached; where they are gone for good: `mesh offboard subscriber {code} --yes --abandon`"
    )
