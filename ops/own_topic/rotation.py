"""`mesh subscription rotate`: another login for a sink that its subscriber reads itself; the former one is good for a while yet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.command.terminal import moment
from ops.kinds.sinks import SINKS
from ops.known_names import did_you_mean
from ops.own_topic.logins import Minted, forget_login, mint, publish_login
from ops.own_topic.readers import Readers, sink_of
from ops.settings import Settings
from schemas.agreement.directory import Directory
from schemas.agreement.subscriber import Login
from schemas.errors import Misconfigured
from schemas.form import Between, Seconds
from schemas.form import read as read_form
from schemas.log.control.follower import read_directory
from schemas.log.rights.login import remove_login
from schemas.log.topics import ensure_control_topics
from sinks.kind import is_read_itself

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationForm:
    """What is said of a rotation."""

    overlap: Annotated[Seconds, Between(0, 90 * DAY_SECONDS)] = 1.0 * DAY_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The login that is new, and those that go. A former one without `until` was removed at once."""

    name: str
    minted: Minted
    former: Sequence[Login]

    def to_json(self) -> dict[str, Any]:
        """For scripts; the password is in the file alone."""
        former = [{"user": each.user, "until": each.until.isoformat() if each.until else None} for each in self.former]
        return {"sink": self.name, "user": self.minted.login.user, "file": str(self.minted.file), "former": former}

    def lines(self) -> list[str]:
        """For people."""
        told = [
            f"{self.name} has another login, {self.minted.login.user}: hand {self.minted.file} over to its subscriber"
        ]
        for each in self.former:
            text = f"goes on until {moment(each.until)}, then it is removed" if each.until else "was removed"
            told.append(f"  the former one, {each.user}, {text}")
        return told


@refusals_told("subscription rotate")
def rotate(settings: Settings, name: str, overlap: str) -> Rotated:
    """Make another login and let the former ones go after `overlap`, at once for none. Raises Misconfigured, Transient.

    Whatever stops it half way can be run again: a user that is on no record may do nothing.
    """
    seconds = read_form(RotationForm, {"overlap": overlap}, f"rotation of {name}").overlap
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    subscriber, sink = _named(directory, name)
    now = datetime.now(UTC)
    known = directory.logins_of(subscriber, sink)
    minted = mint(settings, subscriber, sink, known, now)
    ends_at = now + timedelta(seconds=seconds)
    going = [replace(each, until=min(each.until or ends_at, ends_at)) for each in known]
    with closing(AuditedLog(settings.kafka, client_id="mesh-subscription")) as log:
        publish_login(log.append, minted.login, "login made", by="rotation")
        for each in going:
            publish_login(log.append, each, "login to be removed", until=each.until.isoformat() if each.until else None)
        log.flush(30)
        present = replace(directory, logins={**directory.logins, minted.login.user: minted.login})
        Readers(kafka=settings.kafka, directory=present).allow(
            minted.login.user, _open_topics(present, subscriber, sink, now)
        )
        if not seconds:
            for each in going:
                remove_login(settings.kafka, each.user)
                forget_login(log.append, each, "rotated at once")
            log.flush(30)
            going = [replace(each, until=None) for each in going]
    return Rotated(name=name, minted=minted, former=going)


def _named(directory: Directory, name: str) -> tuple[str, str]:
    subscriber, _, sink = name.partition(".")
    if is_read_itself(sink_of(directory, subscriber, sink), SINKS):
        return subscriber, sink
    names = [
        f"{code}.{each.name}"
        for code, known in directory.subscribers.items()
        for each in known.sinks
        if is_read_itself(each, SINKS)
    ]
    fix = did_you_mean(name, names, "`mesh subscription list` shows them: those by kafka")
    raise Misconfigured(name, "is no sink whose topics its subscriber reads itself", fix=fix)


def _open_topics(directory: Directory, subscriber: str, sink: str, now: datetime) -> list[str]:
    return [
        entry.topic
        for entry in directory.grants.values()
        if (entry.grant.subscriber, entry.grant.sink) == (subscriber, sink) and entry.grant.is_active(now)
    ]
