"""Entity health: whether each source, feed, sink, grant, flow and process is well, and in words why not and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ops.watch.health import OK
from ops.watch.status_report import AS_IT_SHOULD, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityHealth:
    """One thing that may be well or not. `state` is a word of the status, or of an incident."""

    kind: str
    name: str
    state: str
    is_well: bool
    reason: str = ""
    fix: str = ""

    def lines(self) -> list[str]:
        """A line about it, and one about what to do, if there is something."""
        of = f"{self.kind} {self.name}"
        lines = [f"{of}: {self.state} {self.reason}".rstrip()]
        return [*lines, f"  fix: {self.fix}"] if self.fix and not self.is_well else lines


def entities(status: Status) -> Iterator[EntityHealth]:
    """Everything that the status tells of; sources and sinks by their incidents, feeds and grants with theirs."""
    for feed in status.feeds:
        is_well = feed.health in AS_IT_SHOULD
        yield EntityHealth(
            kind="feed", name=feed.feed, state=feed.health, is_well=is_well, reason=feed.reason, fix=feed.fix
        )
    for entry in status.subscriptions:
        is_well = entry.health in AS_IT_SHOULD
        yield EntityHealth(
            kind="grant", name=entry.grant_id, state=entry.health, is_well=is_well, reason=entry.reason, fix=entry.fix
        )
    for flow in status.flows:
        is_well = flow.health == OK
        yield EntityHealth(kind="flow", name=flow.flow, state=flow.health, is_well=is_well, reason=flow.reason)
    for process in status.processes:
        yield EntityHealth(kind="process", name=process.process, state=process.state, is_well=process.state == "up")
    troubled = {(incident.kind, incident.name): incident for incident in status.incidents}
    names = {("source", name) for name in status.sources} | {("sink", name) for name in status.sinks}
    for kind, name in sorted(names):
        incident = troubled.get((kind, name))  # pyright: ignore[reportArgumentType] - the set has these two kinds alone
        if incident is None:
            yield EntityHealth(kind=kind, name=name, state=OK, is_well=True)
        else:
            yield EntityHealth(
                kind=kind,
                name=name,
                state=incident.state,
                is_well=not incident.is_standstill,
                reason=incident.reason,
                fix=incident.fix,
            )
