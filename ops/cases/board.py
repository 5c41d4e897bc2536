"""Board (办件看板): a feed of a flow that has a row for each case, and which of its columns say how a case stands (boards.yaml)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from schemas.contract import Contract

CATALOGUE = Path(__file__).with_name("boards.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """`system` is the flow; the rest names columns of the feed. In the states of `waits` somebody is still to act."""

    system: str
    feed: str
    state: str
    columns: Sequence[str]
    find: Sequence[str]
    waits: Sequence[str] = ()
    since: str = ""
    due: str = ""

    def missing(self, contract: Contract) -> list[str]:
        """The columns that a contract does not have."""
        asked = [self.state, self.since, self.due, *self.columns, *self.find]
        return [name for name in asked if name and name not in contract.by_name]


@cache
def load_boards() -> Mapping[str, Sequence[Board]]:
    """All boards by system."""
    told = yaml.safe_load(CATALOGUE.read_text("utf-8"))
    return {system: [Board(system=system, **each) for each in entries] for system, entries in told.items()}
