"""Raising and answering: what a subscriber disputes, and what the provider says of it; each step with its line of the audit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import click

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told, without_numbers
from ops.command.terminal import SHANGHAI
from ops.grants.decide import grant_named
from ops.known_names import did_you_mean
from ops.settings import Connections, Settings
from ops.trust.audit import audit
from ops.trust.subject_key import SubjectKey
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Mask
from schemas.agreement.objection import FOLLOWS, Objection, ObjectionState
from schemas.agreement.sharing_rules import rules_at, sharing_class
from schemas.errors import Misconfigured
from schemas.feed import OBJECTIONS
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.control.store import ControlReader
from schemas.log.offsets import extents
from schemas.log.topics import ensure_control_topics

WITHIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputed:
    """What is said of a field: `seen` is the value as it was seen, of which a keyed hash alone is kept."""

    key: Mapping[str, str]
    field: str
    seen: str
    claimed: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Objections:
    """Objections, oldest first; `is_revealed`: with the record's key and the claim, which are somebody's.

    `carried` are the grants on whose topics a change stands that says it is the correction.
    """

    objections: Sequence[Objection]
    is_revealed: bool = False
    carried: Sequence[str] = ()

    def to_json(self) -> Mapping[str, Any]:
        """For scripts."""
        shown = {"objections": [self._shown(each) for each in self.objections]}
        return {**shown, "carried_to": list(self.carried)} if self.carried else shown

    def _shown(self, objection: Objection) -> dict[str, Any]:
        hidden = set[str]() if self.is_revealed else {"record_key", "claimed"}
        return {name: value for name, value in objection.to_json().items() if name not in hidden | {"since"}}

    def render(self) -> None:
        """For people."""
        now = datetime.now(UTC)
        for each in self.objections:
            is_late = each.answered_at is None and now >= each.due_at
            due = each.due_at.astimezone(SHANGHAI).date()
            what = f"{each.feed}, {each.field}, by {each.raised_by}"
            click.echo(f"{each.objection_id}  {each.state}  {what}; due {due}{' LATE' if is_late else ''}")
            if each.reason:
                click.echo(f"  answer: {each.reason}")
            if each.correction_event:
                click.echo(f"  corrected by {each.correction_event}")
            for grant_id in self.carried:
                click.echo(f"  its correction is on the topic of {grant_id}, as such")
            if self.is_revealed:
                key = ", ".join(f"{name}={value}" for name, value in each.record_key.items())
                click.echo(f"  record: {key}\n  claim: {each.claimed}\n  evidence: {each.evidence_ref}")
        click.echo(f"{len(self.objections)} objections", err=True)


def value_hash(key: SubjectKey, feed: str, record_key: Mapping[str, str], field: str, value: str) -> str:
    """The hash of a value in one place: equal values elsewhere have others."""
    return key.hash("seen", feed, *(f"{name}={record_key[name]}" for name in sorted(record_key)), field, value)


@refusals_told("objection")
def raise_objection(settings: Settings, grant_id: str, disputed: Disputed) -> Objection:
    """A subscriber disputes a field of what a grant brought it. Said twice it is one. Raises Misconfigured."""
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    entry, feed = _disputable(directory, grant_id, disputed)
    key = SubjectKey(Connections(settings.directory))
    seen = value_hash(key, feed.feed, disputed.key, disputed.field, disputed.seen)
    objection_id = f"{feed.feed}@{seen[:12]}"
    now = datetime.now(UTC)
    ends = extents(settings.kafka, [feed.feed], now)
    objection = Objection(
        objection_id=objection_id,
        grant_id=grant_id,
        feed=feed.feed,
        record_key=disputed.key,
        field=disputed.field,
        seen_value_hash=seen,
        key_id=key.id,
        claimed=disputed.claimed,
        evidence_ref=disputed.evidence,
        raised_by=entry.grant.subscriber,
        raised_at=now,
        due_at=rules_at(now).due_at(now, sharing_class(entry.grant, feed.contract)),  # as of a request (HANDBOOK A7)
        since={str(place[1]): extent.end for place, extent in ends.items()},
    )
    standing = read(settings).get(objection_id)
    if standing is not None and standing.state is not ObjectionState.REJECTED:
        return standing
    if standing is not None:
        fix = f"`mesh objection show {objection_id}` has the answer; raise it of the value that stands now, if that is another"
        raise Misconfigured(f"objection {objection_id}", "was rejected: the value stands", fix=fix)
    told = {"grant": grant_id, "field": disputed.field, "evidence": without_numbers(disputed.evidence)}
    write(settings, objection, None, "objection raised", **told)
    return read(settings)[objection_id]


def _disputable(directory: Directory, grant_id: str, disputed: Disputed) -> tuple[GrantEntry, FeedEntry]:
    entry = grant_named(directory, grant_id)
    feed = directory.feeds.get(entry.grant.feed)
    if feed is None:
        raise Misconfigured(f"grant {grant_id}", "its feed is there no more", fix="ask its provider")
    contract = feed.contract
    if set(disputed.key) != set(contract.key):
        fix = " ".join(f"--key {name}=<value>" for name in contract.key)
        raise Misconfigured("the record", f"is not named by the key of {feed.feed}", fix=f"give {fix}")
    granted = {*entry.grant.columns, *contract.key}
    if disputed.field not in granted or entry.grant.mask.get(disputed.field, Mask.FULL) is not Mask.FULL:
        fix = f"dispute one of {', '.join(sorted(granted))}, which it sees as it is"
        raise Misconfigured(f"grant {grant_id}", f"does not show {disputed.field} as it is", fix=fix)
    return entry, feed


@refusals_told("objection answer")
def answer(settings: Settings, objection_id: str, state: ObjectionState, reason: str) -> Objection:
    """The provider's answer. Raises Misconfigured for a refusal without a reason, and for what cannot follow the present state."""
    standing = found(settings, objection_id)
    if state is ObjectionState.REJECTED and not reason.strip():
        raise Misconfigured(f"objection {objection_id}", "is rejected without a reason", fix="give one: --reason")
    if state is standing.state:
        return standing
    if state not in FOLLOWS[standing.state]:
        possible = ", ".join(sorted(FOLLOWS[standing.state])) or "nothing"
        raise Misconfigured(f"objection {objection_id}", f"is {standing.state}, after which {state} cannot come",
                            fix=f"what may follow is {possible}")  # fmt: skip
    is_answer = state is not ObjectionState.PROVIDER_CHECKING
    at = datetime.now(UTC) if is_answer else None
    answered = replace(standing, state=state, reason=reason.strip() or None, answered_at=at)
    if not write(settings, answered, standing, f"objection {state}", reason=without_numbers(reason.strip())):
        raise Misconfigured(f"objection {objection_id}", "was answered by somebody else at this moment",
                            fix=f"`mesh objection show {objection_id}`")  # fmt: skip
    return answered


def found(settings: Settings, objection_id: str) -> Objection:
    """The objection of this id. Raises Misconfigured."""
    ensure_control_topics(settings.kafka)
    every = read(settings)
    if objection_id not in every:
        fix = did_you_mean(objection_id, list(every), "`mesh objection list` lists them")
        raise Misconfigured(f"objection {objection_id}", "does not exist", fix=fix)
    return every[objection_id]


def read(settings: Settings) -> dict[str, Objection]:
    """Every objection by its id. Raises Transient."""
    return {key: Objection.from_json(record) for key, record in ControlReader(settings.kafka, OBJECTIONS).all().items()}


def write(settings: Settings, objection: Objection, before: Objection | None, what: str, **details: Any) -> bool:
    """Put it in the place of `before`; False, and nothing is written, where that does not stand there any more."""
    expected = json.dumps(before.to_json()) if before else None

    def is_as_before() -> bool:
        record = ControlReader(settings.kafka, OBJECTIONS).all().get(objection.objection_id)
        return (json.dumps(record) if record else None) == expected

    with closing(AuditedLog(settings.kafka, client_id="mesh-objection")) as log:
        publish(log.append, OBJECTIONS, objection.objection_id, objection.to_json())
        audit(log.append, what, objection.objection_id, **details)
        return log.flush(WITHIN_SECONDS, is_as_before)
