"""`mesh subscription pause` and `resume`: a record on `mesh.pauses`, which every delivery process follows.

No hop may write there: it is a person's word, like a grant. It takes effect within a second or two, survives restarts, and holds
nothing in memory: the lane reads no further, and goes on where its target, or its group, stands.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told, without_numbers
from ops.settings import Settings
from ops.subscription.named import Named, named
from ops.trust.audit import audit
from schemas.agreement.directory import Directory
from schemas.agreement.pause import Pause, pause_key
from schemas.errors import Misconfigured
from schemas.feed import PAUSES, STANDSTILLS
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.topics import DAY_MS, TopicSpec, ensure_control_topics

REASON_CHARACTERS_MAX = 200
READABLE_DAYS = TopicSpec().tombstone_ms // DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What was paused, or goes on. `still` are pauses that hold some of it all the same, by the names they were given under."""

    names: Sequence[str]
    is_paused: bool
    reason: str = ""
    still: Collection[str] = ()

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        state = "paused" if self.is_paused else "active"
        return {"subscriptions": list(self.names), "state": state, "reason": self.reason, "still": sorted(self.still)}

    def lines(self) -> list[str]:
        """For people."""
        if self.is_paused:
            text = "is paused within seconds; what comes meanwhile waits on its topic, in order"
            return [f"{name} {text}: `mesh subscription resume {name}` lets it go on" for name in self.names]
        told = [f"{name} goes on where it was" for name in self.names]
        return told + [f"{name} is paused by itself: `mesh subscription resume {name}`" for name in sorted(self.still)]


@refusals_told("subscription pause")
def pause(settings: Settings, names: Sequence[str], reason: str) -> Held:
    """Hold what these deliver. Raises Misconfigured for a name that is none, and for a reason that is no short line."""
    if len(reason) > REASON_CHARACTERS_MAX or not reason.isprintable():
        fix = f"say it in one line of {REASON_CHARACTERS_MAX} characters at most, without a personal value"
        raise Misconfigured("--reason", "is no short line", fix=fix)
    ensure_control_topics(settings.kafka)
    found = [named(read_directory(settings.kafka), name) for name in names]
    with closing(AuditedLog(settings.kafka, client_id="mesh-subscription")) as log:
        for each in found:
            line = audit(log.append, "subscription pause", each.name, reason=without_numbers(reason))
            since = datetime.fromisoformat(line["when"])
            publish(log.append, PAUSES, each.key, Pause(by=line["who"], since=since, reason=reason).to_json())
        log.flush(30)
    return Held(names=names, is_paused=True, reason=reason)


@refusals_told("subscription resume")
def resume(
    settings: Settings, names: Sequence[str], reason: str, *, is_gap_accepted: bool = False, now: datetime | None = None
) -> Held:
    """Let these go on where they were: what was paused, and a sink that stands still until a person resumes it. Safe to repeat.

    Raises Misconfigured for what was paused for longer than removals stay on its topic, unless that is accepted.
    """
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    found = [named(directory, name) for name in names]
    if not is_gap_accepted:
        for each in found:
            refuse_gap(each, directory.pauses.get(each.key), now or datetime.now(UTC))
    with closing(AuditedLog(settings.kafka, client_id="mesh-subscription")) as log:
        for each in found:
            log.append(PAUSES, each.key.encode(), None)
            log.append(STANDSTILLS, each.sink_name.encode(), None)
            audit(log.append, "subscription resume", each.name, reason=without_numbers(reason))
        log.flush(30)
    still = {name for each in found for name in _still(directory, each) if name not in names}
    return Held(names=names, is_paused=False, reason=reason, still=still)


def refuse_gap(resumed: Named, pause: Pause | None, now: datetime) -> None:
    """What was removed before anybody read that it was would stay at the subscriber, and nobody would notice (invariant 9)."""
    if pause is None or now - pause.since < timedelta(days=READABLE_DAYS):
        return
    again = "; ".join(f"`mesh grant {each.grant.grant_id} REVOKED`, then `ACTIVE`" for each in resumed.grants[:3])
    problem = f"was paused for longer than the {READABLE_DAYS} days for which removals stay on a topic: what was removed might stay"
    fix = f"begin anew with all that stands, by {again}, and resume with --accept-gap; or accept it, and `mesh verify` the grants"
    raise Misconfigured(resumed.name, problem, fix=fix)


def _still(directory: Directory, resumed: Named) -> Collection[str]:
    """What else holds some of it: the sink of a grant, or grants of a sink that were paused by themselves."""
    if resumed.kind == "grant":
        return [resumed.sink_name] if pause_key("sink", resumed.sink_name) in directory.pauses else []
    ids = [entry.grant.grant_id for entry in resumed.grants]
    return [grant_id for grant_id in ids if pause_key("grant", grant_id) in directory.pauses]
