"""SourceKind: all that the mesh knows of one kind of source. `check`, `onboard`, capture and the others ask it, not its name.

A kind is a room in `producers/` whose `kind.py` has the value, a line in `ops/kinds/sources.py`, and its tests. That file loads
the room's parts only where they are called: `mesh check` and the other commands know every kind and open none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from producers.draft import Drafting
from producers.fenced.table import Fencing
from producers.finding import Finding, Provided
from producers.source import OpenSource, SourceSetting
from schemas.agreement.agency import SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.contract import Contract
from schemas.form import NoOptions


class Preflight(Protocol):
    """What must be true of a source before its feeds can be captured."""

    def __call__(
        self,
        source: SourceConfig,
        address: str,
        contracts: Sequence[Contract],
        anchors: Mapping[str, Anchor],
        /,
        *,
        name: str,
    ) -> tuple[Sequence[Finding], Mapping[str, Provided]]:
        """Findings, and what provides each feed; nothing of the latter when an error was found. Raises MeshError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """The contract that fits a feed's table as it is now, and what differs, in words; nothing where it fits already."""

    contract: Contract
    differences: list[str]
    is_whole_row: bool


class Following(Protocol):
    """How a feed goes on after its table changed: `mesh follow`."""

    def successor(self, source: SourceConfig, address: str, contract: Contract, table: str | None, /) -> Successor:
        """What fits the table; `table` is its name now, if it was renamed. Raises Misconfigured where there is none, Transient."""
        ...

    def is_copied(self, record: Mapping[str, Any] | None, feed: str, request: str, /) -> bool:
        """Whether the source's progress says that the copy asked for by this request is whole."""
        ...


class SourceHolding(Protocol):
    """What a kind of source holds in a department's database."""

    def words(self, source: str, /) -> str:
        """What it is, for people; `source` is `<agency>.<source>`."""
        ...

    def by_hand(self, source: str, /) -> str:
        """The statements by which the database's own people give it back."""
        ...

    def release(self, setting: SourceSetting, record: Mapping[str, Any], /) -> None:
        """Give it back; `record` is the source's progress. Changes nothing twice. Raises Transient and Misconfigured."""
        ...


Rows = Callable[[SourceConfig, str, Contract], Iterable[Mapping[str, Any]]]
"""By a source's configuration and address the rows of a contract, column to value as its driver gives it. Raises Transient."""


class Database(Protocol):
    """How a source's database is told from others, so that no sink delivers into it unasked."""

    def at(self, address: str, /) -> str:
        """Its name by the address alone. Raises Misconfigured for what is no address."""
        ...

    def look(self, address: str, /, *, name: str) -> tuple[str, set[str]]:
        """The name that it gives itself, empty without one, and the subscribers whose sinks deliver into it. Raises MeshError."""
        ...


def _nothing_stands_in_the_way(
    _source: SourceConfig,
    _address: str,
    _contracts: Sequence[Contract],
    _anchors: Mapping[str, Anchor],
    /,
    *,
    name: str,
) -> tuple[Sequence[Finding], Mapping[str, Provided]]:
    del name
    return (), {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """One line of the table of sources. Without `open` nothing is captured: the mesh writes its feeds itself."""

    open: OpenSource | None = None
    options: type[Any] = NoOptions
    """The form of its options."""
    preflight: Preflight = _nothing_stands_in_the_way
    drafting: Drafting | None = None
    """How `mesh draft` asks it for its tables; None for what cannot be drafted."""
    following: Following | None = None
    """How its feeds follow their tables; None where nothing is there to be followed."""
    rows: Rows | None = None
    """Its rows read back, to be compared with what subscribers hold; None where they cannot be read but as feeds."""
    fencing: Fencing | None = None
    """How a table of it is had as it was at one position, to be compared with its feed; None where there is no such table."""
    unfenced: str = "the mesh makes its rows itself; `mesh verify FEED` compares what subscribers hold with them"
    """What to do instead where there is none: an instruction to a person."""
    database: Database | None = None
    """How its database is told from others; None for what no sink could deliver into."""
    holding: SourceHolding | None = None
    """What it gives back once its last feed was offboarded."""
    whole_row_fix: Callable[[str], str] = lambda _table: "let the source send rows as they were;"
    """What makes the source of this name (`<schema>.<table>` of a database) send each row as it was: an instruction to a person."""
    last: Callable[[Mapping[str, Any] | None, str], str] | None = None
    """By a source's progress and a feed, in words what it stated last; None where nothing is stated but followed."""
    schemes: frozenset[str] = frozenset()
    """How addresses of a database across the network begin; none where a source reads what lies on the mesh's own host."""
    sending: Callable[[str, str, str], str] | None = None
    """By its connection as an agency's file has it, a feed and a file of rows: the command by which a department sends those rows
    itself; None where the mesh fetches them."""
    copies_feeds_alone: bool = True
    """Whether `mesh resync` of one feed copies that feed alone; otherwise its source is read again as a whole."""

    @property
    def has_address(self) -> bool:
        """Whether there is anything to connect to."""
        return self.open is not None
