"""`mesh subscription list` and `show`: what is delivered to whom, what holds it, and the limits that its subscriber asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops.command.terminal import moment
from ops.settings import Settings
from ops.subscription.named import Named, listed_as, subscriptions
from ops.watch.held import why_held
from schemas.agreement.directory import Directory
from schemas.agreement.pause import pause_key
from schemas.agreement.subscriber import Login
from schemas.errors import MeshError
from schemas.feed import STANDSTILLS
from schemas.log.control.follower import read_directory
from schemas.log.control.store import ControlReader
from sinks.lane.standstill import StandingStill


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Subscriptions, one record each."""

    records: Sequence[dict[str, Any]]
    is_one: bool = False

    def to_json(self) -> Any:
        """For scripts."""
        return self.records[0] if self.is_one else list(self.records)

    def lines(self) -> list[str]:
        """For people."""
        if self.is_one:
            return [f"{name:<10} {_text(value)}" for name, value in self.records[0].items()]
        return [f"{each['name']}  {each['kind']}  {each['state']}  {each['why']}".rstrip() for each in self.records]


def _text(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def listed(settings: Settings, names: Sequence[str]) -> Listed:
    """All subscriptions, or those that are named."""
    directory = read_directory(settings.kafka)
    standing = _standing(settings)
    found = [listed_as(directory, name) for name in names] if names else list(subscriptions(directory))
    return Listed(records=[_record(directory, each, standing) for each in found])


def shown(settings: Settings, name: str) -> Listed:
    """One subscription."""
    directory = read_directory(settings.kafka)
    return Listed(records=[_record(directory, listed_as(directory, name), _standing(settings))], is_one=True)


def _record(directory: Directory, each: Named, standing: dict[str, str]) -> dict[str, Any]:
    now = datetime.now(UTC)
    pause = directory.pauses.get(each.key) or directory.pauses.get(pause_key("sink", each.sink_name))
    held = next((why for entry in each.grants if (why := why_held(directory, entry.grant, now))), "")
    if pause is not None:
        state, why = "paused", held or pause.told()
    elif each.sink_name in standing:
        state, why = "stopped", f"{standing[each.sink_name]}; `mesh subscription resume {each.sink_name}`"
    elif each.kind == "grant" and not each.grants:
        state, why = "off", "the grant lets nothing flow"
    else:
        is_quiet = (bool(held) and each.kind == "grant") or held.startswith("quiet hours")
        state, why = ("paused", held) if is_quiet else ("active", "")
    try:
        limits = list(each.sink.policy(each.subscriber).explained())
    except MeshError as error:
        limits = [error.problem]
    return {
        "name": each.name,
        "kind": each.kind,
        "subscriber": each.subscriber,
        "sink": each.sink.name,
        "by": each.sink.kind,
        "state": state,
        "why": why,
        "pause": pause.to_json() if pause else None,
        "limits": limits,
        "grants": [entry.grant.grant_id for entry in each.grants],
        "logins": [_login_text(login) for login in directory.logins_of(each.subscriber, each.sink.name)],
    }


def _login_text(login: Login) -> str:
    return f"{login.user} until {moment(login.until)}" if login.until else login.user


def _standing(settings: Settings) -> dict[str, str]:
    records = ControlReader(settings.kafka, STANDSTILLS).all()
    return {name: StandingStill.from_json(record).reason for name, record in records.items()}
