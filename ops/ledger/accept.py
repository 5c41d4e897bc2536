"""Accepting: a person says that a red line was looked into; from there on it is compared anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.command.terminal import report_console
from ops.ledger.balance import Line, accepted_key
from ops.ledger.view import LedgerReader
from ops.settings import Settings
from ops.trust.audit import audit
from schemas.errors import Misconfigured
from schemas.feed import LEDGER
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish

SETTLES_WITHIN_SECONDS = 20.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What was accepted."""

    name: str
    differences: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"name": self.name, "accepted": list(self.differences)}

    def render(self) -> None:
        """For people."""
        console = report_console()
        for each in self.differences:
            console.print(f"accepted: {each}", markup=False, soft_wrap=True)
        console.print(f"{self.name} is compared anew from here on", markup=False)


@refusals_told("ledger accept")
def accept(settings: Settings, name: str, reason: str) -> Accepted:
    """Accept what is different in a line, with a reason, on the audit. Raises Misconfigured where nothing is."""
    line = _settled(settings, name)
    differences = line.differences
    if not differences:
        raise Misconfigured(
            f"ledger line {name}", f"is {line.standing}: there is nothing to accept", fix="`mesh ledger`"
        )
    with closing(AuditedLog(settings.kafka, client_id="mesh-ledger-accept")) as log:
        for place, below in _ends(line).items():
            publish(log.append, LEDGER, accepted_key(place), {"below": below})
        told = [each.to_json() for each in differences]
        audit(log.append, "ledger accepted", name, reason=reason, differences=told)
        log.flush(30)
    return Accepted(name=name, differences=[str(each) for each in differences])


def _settled(settings: Settings, name: str) -> Line:
    """The line; one whose writer has just begun anew is given time to say what it wrote, and a reader to come up with its writer.

    What is different is seen where both have come to: the line may be red again then.
    """
    reader, deadline = LedgerReader(settings), time.monotonic() + SETTLES_WITHIN_SECONDS
    while True:
        balance = reader.balance(read_directory(settings.kafka))
        line = balance.feeds.get(name) or balance.subscriptions.get(name)
        if line is None:
            fix = "`mesh ledger` lists feeds and subscriptions"
            raise Misconfigured(f"ledger line {name}", "does not exist", fix=fix)
        if line.standing not in {"unsettled", "behind"} or time.monotonic() > deadline:
            return line
        time.sleep(LOOK_SECONDS)


def _ends(line: Line) -> dict[tuple[str, int], int]:
    """How far both sides have come, of each partition where they differ."""
    ends: dict[tuple[str, int], int] = {}
    for handover in line.handovers:
        if handover.differences():
            sides = [side for side in (handover.writer, handover.reader) if side is not None]
            ends[handover.place] = max(side.sums.end.offset for side in sides)
    return ends
