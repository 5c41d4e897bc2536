"""Carried: on which `out` topics the correction of an objection stands, as such."""

from __future__ import annotations

from ops.settings import Settings
from schemas.agreement.objection import CORRECTION_OF, Objection
from schemas.log.control.follower import read_directory
from schemas.log.offsets import extents
from schemas.log.range import read_ranges


def carried(settings: Settings, objection: Objection) -> list[str]:
    """The grants that brought it to their subscribers; what came since the objection was raised is read. Raises Transient."""
    directory = read_directory(settings.kafka)
    grants = {entry.topic: name for name, entry in directory.grants.items() if entry.grant.feed == objection.feed}
    found = extents(settings.kafka, grants, objection.raised_at)
    ranges = {place: (extent.since, extent.end) for place, extent in found.items()}
    told: set[str] = set()
    for batch in read_ranges(settings.kafka, ranges):
        for record in batch.records:
            said = dict(record.headers or ()).get(CORRECTION_OF, b"").decode()
            if objection.objection_id in said.split(","):
                told.add(grants[batch.topic])
    return sorted(told)
