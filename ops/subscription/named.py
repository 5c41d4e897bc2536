"""Named: the subscription that a person means: one grant, or all grants through a sink `<subscriber>.<sink>`.

One whose topics its subscriber reads itself is shown, and has nothing that could be held, replayed or tried here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.kinds.sinks import SINKS
from ops.known_names import did_you_mean
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.pause import PausedKind, pause_key
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured
from sinks.kind import is_confirmed, is_delivered


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What was named. `grants` are the active ones that it delivers."""

    kind: PausedKind
    name: str
    subscriber: str
    sink: SinkConfig
    grants: Sequence[GrantEntry]

    @property
    def key(self) -> str:
        """What its pause is kept under."""
        return pause_key(self.kind, self.name)

    @property
    def sink_name(self) -> str:
        """The name of its sink, as incidents and pauses have it."""
        return f"{self.subscriber}.{self.sink.name}"


def named(directory: Directory, name: str) -> Named:
    """What a person means by a grant's id or `<subscriber>.<sink>`. Raises Misconfigured, also where nothing is delivered."""
    found = listed_as(directory, name)
    if is_delivered(found.sink, SINKS):
        return found
    problem = "is read by its subscriber itself: nothing is delivered to it"
    fix = "its subscriber stops, seeks and tries by itself; `mesh subscription rotate` gives it another login"
    raise Misconfigured(name, problem, fix=fix)


def listed_as(directory: Directory, name: str) -> Named:
    """The same, be it delivered or read by its subscriber itself. Raises Misconfigured for neither."""
    known = list(subscriptions(directory))
    found = next((each for each in known if each.name == name), None)
    if found is None:
        fix = did_you_mean(name, [each.name for each in known], "`mesh subscription list` shows them")
        raise Misconfigured(name, "is no grant and no sink that the mesh delivers to", fix=fix)
    return found


def subscriptions(directory: Directory) -> Iterator[Named]:
    """Every sink that is delivered to or read by its subscriber, and every grant through one; grants that are over are left out."""
    now = datetime.now(UTC)
    for code, subscriber in sorted(directory.subscribers.items()):
        for sink in subscriber.sinks:
            if not is_confirmed(sink, SINKS):
                continue
            entries = [
                entry
                for _, entry in sorted(directory.grants.items())
                if (entry.grant.subscriber, entry.grant.sink) == (code, sink.name) and not entry.grant.is_over(now)
            ]
            active = [entry for entry in entries if entry.grant.is_active(now)]
            yield Named(kind="sink", name=f"{code}.{sink.name}", subscriber=code, sink=sink, grants=active)
            for entry in entries:
                grants = [entry] if entry in active else []
                yield Named(kind="grant", name=entry.grant.grant_id, subscriber=code, sink=sink, grants=grants)
