"""The kinds of source. A new one is a room in `producers/`, one line here and its tests."""

from __future__ import annotations

from collections.abc import Mapping

from producers.drops.kind import DROPPED_FILES
from producers.kind import SourceKind
from producers.mesh.kind import PEER
from producers.mysql.kind import MYSQL_SOURCE
from producers.polled.kind import POLLED
from producers.postgresql.kind import POSTGRES
from producers.pushed.kind import PUSHED
from schemas.agreement.agency import FLOW, Agency
from schemas.agreement.anchor import MESH
from schemas.contract import Contract

SOURCES: Mapping[str, SourceKind] = {
    "mysql": MYSQL_SOURCE,
    "postgres": POSTGRES,
    "push": PUSHED,
    "files": DROPPED_FILES,
    "polled": POLLED,
    MESH: PEER,
    FLOW: SourceKind(),
}


def kind_of(agency: Agency | None, source: str) -> SourceKind:
    """What kind a source of the agency is; one that nothing is known of where there is no such source, or no such kind."""
    config = agency.source(source) if agency else None
    return SOURCES.get(config.kind, _UNKNOWN) if config else _UNKNOWN


def whole_row_fix(agency: Agency | None, contract: Contract) -> str:
    """What makes the contract's source send each row as it was."""
    return kind_of(agency, contract.source).whole_row_fix(contract.table)


_UNKNOWN = SourceKind()
