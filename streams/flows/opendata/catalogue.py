"""The catalogue of data sets (数据集): what of which feed is open, in groups of what, and how small they may be.

datasets.yaml has those that are kept whole, parts.csv those made of whole groups of one of them (written by parts.py),
publishers.csv the departments. All of them together are the portal's catalogue, LISTED.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from schemas.contract import Contract
from schemas.dated.configuration import Dated, dated
from schemas.errors import Misconfigured
from streams.operators.flow import Row
from streams.operators.publish import FieldTable, Treatment, show

HERE = Path(__file__).parent
REMEMBERED_ROWS = 1 << 13
"""Of how many rows of a set the text is remembered."""
_PERSONAL = {"PII", "QUASI_ID", "SENSITIVE"}
_K_PERSONAL = 10
_SHOWN_IN_GROUPS = {"base.person"}
"""Feeds that are not open row by row, and are published in groups of k all the same: HANDBOOK §4 K names the archive of persons."""

STANDINGS = ("OWN", "ISSUER", "NAMED")
"""How a department comes to publish a set: the feed is its own; it or its offices issued what the rows are about; it is named as
the provider of what the rows list, in a register that another keeps, and has no table of its own in the mesh."""


@dataclass(frozen=True, kw_only=True)
class Heat:
    """A map of a data set: of its rows by district, and where they have coordinates, of points in cells.

    `cell_degrees` is the side of a cell; `k` the least number of points that a cell or district shows.
    """

    region: str
    k: int
    lon: str = ""
    lat: str = ""
    crs: str = ""
    cell_degrees: str = "0"

    @property
    def has_points(self) -> bool:
        """Whether its rows have coordinates."""
        return bool(self.lon)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set that is kept whole. `begins` and `ends` are event times in microseconds; None is open."""

    dataset: str
    title: str
    theme: str
    agency: str
    feed: str
    table: FieldTable
    groups: Sequence[str]
    k: int
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])
    profile: Sequence[str] = ()
    elements: Mapping[str, str] = field(default_factory=dict[str, str])
    heat: Heat | None = None
    refresh_seconds: int
    begins: int | None
    ends: int | None
    standing: str = "OWN"

    @property
    def whole(self) -> Dataset:
        """The set that has the rows: itself."""
        return self

    @property
    def shows(self) -> tuple[str, str] | None:
        """Which column must show what for a row of the whole to belong to the set; None: every row does."""
        return None

    def has(self, row: Row) -> bool:
        """Whether a row of the feed belongs to the set."""
        return all(row.get(column) in values for column, values in self.where.items())

    def group(self, row: Row) -> str:
        """The subject of a row's group: the quasi-identifiers as the set shows them."""
        treatments = self.table.columns
        values = [show(row.get(column), treatments[column]) for column in self.groups]
        return f"group:{self.dataset}|{json.dumps(values, ensure_ascii=False)}"

    def content(self, row: Row) -> str:
        """What the set shows of a row, as canonical JSON: equal text, equal row."""
        get = row.get
        values = tuple([get(column) for column in self.table.columns])
        try:
            return self._remembered(values)
        except TypeError:  # a list is among them, which nobody remembers
            return self._content_of(values)

    def _content_of(self, values: Sequence[Any]) -> str:
        row = dict(zip(self.table.columns, values, strict=True))
        return json.dumps(self.table.project(row), ensure_ascii=False, sort_keys=True)

    @cached_property
    def _remembered(self) -> Callable[[tuple[Any, ...]], str]:
        """A group that is folded again has the same rows but for a few."""
        return lru_cache(maxsize=REMEMBERED_ROWS)(self._content_of)

    def is_open_at(self, moment: int) -> bool:
        """Whether the set is published at an event time."""
        return (self.begins is None or self.begins <= moment) and (self.ends is None or moment < self.ends)

    def next_change(self, moment: int) -> int | None:
        """When the set opens or closes next."""
        return min((at for at in (self.begins, self.ends) if at is not None and at > moment), default=None)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A data set made of those groups of another that show one value in one of the groups' columns."""

    dataset: str
    title: str
    theme: str
    agency: str
    standing: str
    whole: Dataset
    column: str
    value: str

    @property
    def shows(self) -> tuple[str, str] | None:
        """Which column must show what for a row of the whole to belong to the set."""
        return self.column, self.value


@dataclass(frozen=True, slots=True)
class Publisher:
    """A department (部门) that publishes: of the city, of a district, or a platform of several. `theme` is its usual field (领域)."""

    agency: str
    name: str
    level: str
    theme: str


def read_catalogue(path: Path) -> Mapping[str, Dataset]:
    """The data sets by code. Raises Misconfigured for a code that occurs twice, and for groups that the set does not show."""
    pack = dated(path, ["dataset"])
    found: dict[str, Dataset] = {}
    for entry in pack.entries:
        values = dict(entry.values)
        code = values["dataset"]
        if code in found:
            raise _fault(pack, code, "has two entries", "give a changed data set a code of its own")
        columns = values.pop("columns")
        try:
            table = FieldTable(code, {name: Treatment(treatment) for name, treatment in columns.items()})
        except ValueError as error:
            fix = f"write one of {', '.join(Treatment)}"
            raise _fault(pack, code, "has a column of unknown treatment", fix) from error
        heat = values.pop("heat", None)
        values.pop("parts", None)
        dataset = Dataset(
            **values, table=table, heat=heat and Heat(**heat), begins=entry.valid_from, ends=entry.valid_to
        )
        if dataset.heat and not dataset.heat.has_points and dataset.heat.region not in dataset.profile:
            raise _fault(pack, code, "maps districts that it does not count", "add the region's column to profile")
        named = {*dataset.groups, *dataset.profile, *dataset.elements}
        if not dataset.groups or not named <= table.columns.keys():
            raise _fault(pack, code, "groups, counts or joins by a column that it does not show", "add it to columns")
        found[code] = dataset
    return found


def _fault(pack: Dated, code: str, what: str, fix: str) -> Misconfigured:
    return Misconfigured(pack.name, f"data set {code} {what}", fix=fix)


def read_parts(path: Path, wholes: Mapping[str, Dataset]) -> Mapping[str, Part]:
    """The parts by code. Raises Misconfigured for a code that occurs twice, and for a part that would split groups."""
    pack = dated(path, ["dataset"])
    found: dict[str, Part] = {}
    fix = "remove the line, then `python -m streams.flows.opendata.parts`"
    for entry in pack.entries:
        values = dict(entry.values)
        code, whole = values["dataset"], wholes.get(values.pop("whole"))
        if code in found or code in wholes:
            raise _fault(pack, code, "has two entries", fix)
        if whole is None or values["column"] not in whole.groups:
            raise _fault(pack, code, "is no part of a data set's groups", fix)
        if values["standing"] not in STANDINGS:
            raise _fault(pack, code, "has a publisher of unknown standing", f"write one of {', '.join(STANDINGS)}")
        found[code] = Part(**values, whole=whole)
    return found


def read_publishers(path: Path) -> Mapping[str, Publisher]:
    """The departments by code, in the order of the file."""
    lines = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return {line["agency"]: Publisher(**line) for line in lines}


PUBLISHERS = read_publishers(HERE / "publishers.csv")
DATASETS = read_catalogue(HERE / "datasets.yaml")
PARTS = read_parts(HERE / "parts.csv", DATASETS)
LISTED: Mapping[str, Dataset | Part] = {**DATASETS, **PARTS}
_BY_VALUE: dict[tuple[str, str, str], list[Part]] = {}
for _part in PARTS.values():
    _BY_VALUE.setdefault((_part.whole.dataset, _part.column, _part.value), []).append(_part)


def sets_of(dataset: Dataset, group: Sequence[Any]) -> list[str]:
    """The codes of the sets that a group belongs to, by what its columns show: the whole, and its parts."""
    parts = (
        part
        for column, value in zip(dataset.groups, group, strict=True)
        for part in _BY_VALUE.get((dataset.dataset, column, value), ())
    )
    return [dataset.dataset, *(part.dataset for part in parts)]


def columns_of(dataset: Dataset) -> list[str]:
    """All that travels of a row to its group: the allow-list. A column that appears upstream stays closed (HANDBOOK K1)."""
    return list(dataset.table.columns)


def faults(dataset: Dataset, contract: Contract) -> list[str]:
    """Why a data set must not be published under its feed's contract: the gate before the first row (HANDBOOK §6.4)."""
    found: list[str] = []
    is_personal = False
    for column, treatment in dataset.table.columns.items():
        known = contract.by_name.get(column)
        if known is None:
            found.append(f"{column}: the feed has no such column")
            continue
        is_closed = known.gov.get("open") == "NOT_OPEN"
        if is_closed and contract.feed not in _SHOWN_IN_GROUPS:
            found.append(f"{column}: is not open")
        if "DIRECT_ID" in known.tags:
            found.append(f"{column}: identifies a person directly")
        if "QUASI_ID" in known.tags and column not in dataset.groups:
            found.append(f"{column}: is a quasi-identifier outside the groups")
        if known.logical_type == "date" and "QUASI_ID" in known.tags and treatment in {Treatment.FULL, Treatment.DAY}:
            found.append(f"{column}: a full date singles people out")
        is_personal |= bool(_PERSONAL & known.tags) or is_closed
    if is_personal and dataset.k < _K_PERSONAL:
        found.append(f"k is {dataset.k}, though rows are about people or not open one by one")
    return found


def overlaps(datasets: Iterable[Dataset]) -> list[str]:
    """Pairs of sets of one feed that may have a row in common, one of them in groups of k: what one holds back the other tells.

    Parts are no matter: they are published with their whole.
    """
    found: list[str] = []
    earlier: list[Dataset] = []
    for dataset in datasets:
        for other in earlier:
            if other.feed != dataset.feed or max(other.k, dataset.k) < _K_PERSONAL:
                continue
            both = other.where.keys() & dataset.where.keys()
            if not any(set(other.where[column]).isdisjoint(dataset.where[column]) for column in both):
                found.append(f"{other.dataset} and {dataset.dataset}")
        earlier.append(dataset)
    return found
