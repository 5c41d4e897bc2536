"""`mesh subscription test`: the target of a sink is tried end to end, now, and no row is written.

A webhook is called with a signed event that says it is a test, a database is asked whether the account may do what delivery does, a
directory, bucket or server gets a probe that is removed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ops.audit.refused import note, refusals_told
from ops.kinds.sinks import SINKS
from ops.settings import Connections, Settings
from ops.subscription.named import named
from schemas.errors import Misconfigured
from schemas.log.control.follower import read_directory
from sinks.kind import Checked
from sinks.sink import SinkSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What was tried of one target, in order."""

    name: str
    kind: str
    checks: Sequence[Checked]

    @property
    def is_ok(self) -> bool:
        """Whether delivery can work."""
        return all(check.is_ok for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        checks = [asdict(check) for check in self.checks]
        return {"sink": self.name, "kind": self.kind, "is_ok": self.is_ok, "checks": checks}

    def lines(self) -> list[str]:
        """For people."""
        told: list[str] = []
        for check in self.checks:
            text = f"{'ok  ' if check.is_ok else 'FAIL'}  {check.what}"
            told.append(f"{text}: {check.detail}" if check.detail else text)
            if check.fix and not check.is_ok:
                told.append(f"      fix: {check.fix}")
        return [*told, f"{self.name} ({self.kind}) {'can be delivered to' if self.is_ok else 'cannot be delivered to'}"]


@refusals_told("subscription test")
def tried(settings: Settings, name: str) -> Tried:
    """Try the sink of this name, or that of a grant. Raises Misconfigured for a name that is none."""
    found = named(read_directory(settings.kafka), name)
    kind = SINKS.get(found.sink.kind)
    if kind is None:
        raise Misconfigured(
            f"sink {found.sink_name}", f"there is no kind {found.sink.kind}", fix="`mesh check` its folder"
        )
    setup = SinkSetup(
        subscriber=found.subscriber,
        sink=found.sink,
        address_of=Connections(settings.directory).sinks.address_of,
        networks=settings.webhook_networks,
    )
    checks = list(kind.probed(setup, [entry.grant for entry in found.grants]))
    outcome = Tried(name=found.sink_name, kind=found.sink.kind, checks=checks)
    note(settings, "subscription test", name, sink=found.sink_name, is_ok=outcome.is_ok)
    return outcome
