"""Requesting: a subscriber's folder as a request. It is let in as by onboarding, but what it asks for waits to be approved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.command.terminal import SHANGHAI
from ops.grants.taking import Taking
from ops.lint.folder import AGENCY_FILE, SUBSCRIBER_FILE, found
from ops.lint.report import Report
from ops.onboarding.onboard import onboard
from ops.onboarding.onboarded import Say
from ops.settings import Settings
from schemas.agreement.directory import GrantEntry
from schemas.agreement.grant_life import CHINESE, possible
from schemas.errors import Misconfigured
from schemas.log.control.follower import read_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """What was asked for, as it stands now; nothing where the folder's own faults stand in the way."""

    entries: Mapping[str, GrantEntry]
    notices: tuple[str, ...]
    report: Report

    @property
    def is_ok(self) -> bool:
        """Whether the request was taken."""
        return not self.report.errors

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        told = {
            grant_id: {
                "status": str(entry.grant.status),
                "successor": str(entry.successor.status) if entry.successor else None,
                "due_at": due.isoformat() if (due := entry.life.due_at) and entry.is_waiting else None,
                "rules": entry.life.rules if entry.is_waiting else None,
            }
            for grant_id, entry in self.entries.items()
        }
        return {"ok": self.is_ok, "grants": told, "notices": list(self.notices), "check": self.report.to_json()}

    def lines(self) -> list[str]:
        """For people."""
        told: list[str] = []
        for grant_id, entry in self.entries.items():
            asked, due = entry.asked, entry.life.due_at
            what = "its change is " if entry.successor else ""
            told.append(f"grant {grant_id}: {what}{asked.status} {CHINESE[asked.status]}")
            if entry.is_waiting and due is not None:
                told.append(f"  answer due before {due.astimezone(SHANGHAI):%Y-%m-%d %H:%M} by {entry.life.rules}")
            told.append(f"  next: {possible(grant_id, asked.status)}")
        return told + [f"note: {notice}" for notice in self.notices]


def request(path: Path, settings: Settings, *, by: str, say: Say) -> Requested:
    """Take a subscriber's folder, or its file, as a request. Raises Misconfigured for what is no subscriber's, and MeshError."""
    folder = path.parent if path.is_file() else path
    if path.is_file() and path.name != SUBSCRIBER_FILE:
        raise Misconfigured(str(path), "is no subscriber's file", fix=f"name a folder with its {SUBSCRIBER_FILE}")
    if agencies := found(folder, AGENCY_FILE):
        fix = "name the subscriber's own folder; an agency's is taken by `mesh onboard <folder>`"
        raise Misconfigured(str(agencies[0]), "is an agency's: only subscribers ask for grants", fix=fix)
    taking = Taking(by=by, at=datetime.now(UTC), is_request=True)
    outcome = onboard(folder, settings, wait_seconds=0, say=say, taking=taking)
    entries: dict[str, GrantEntry] = {}
    if outcome.is_ok:
        directory = read_directory(settings.kafka)
        entries = {grant_id: directory.grants[grant_id] for grant_id in outcome.grants}
    return Requested(entries=entries, notices=tuple(outcome.notices), report=outcome.report)
