"""The catalogue of data sets (datasets.yaml): what of which feed is open, in groups of what, and how small they may be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.contract import Contract
from schemas.errors import Misconfigured
from streams.flows.configuration import Dated, dated
from streams.operators.flow import Row
from streams.operators.publish import FieldTable, Treatment

HERE = Path(__file__).parent
_PERSONAL = {"PII", "QUASI_ID", "SENSITIVE"}
_K_PERSONAL = 10


@dataclass(frozen=True, kw_only=True)
class Heat:
    """A map of a data set. `cell_degrees` is the side of a cell; `k` the least number of points that a cell shows."""

    lon: str
    lat: str
    crs: str
    region: str
    cell_degrees: str
    k: int


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set. `begins` and `ends` are event times in microseconds; None is open."""

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

    def has(self, row: Row) -> bool:
        """Whether a row of the feed belongs to the set."""
        return all(row.get(column) in values for column, values in self.where.items())

    def group(self, row: Row) -> str:
        """The subject of a row's group: the quasi-identifiers as the set shows them."""
        shown = self.table.project(row)
        values = json.dumps([shown[column] for column in self.groups], ensure_ascii=False)
        return f"group:{self.dataset}|{values}"

    def content(self, row: Row) -> str:
        """What the set shows of a row, as canonical JSON: equal text, equal row."""
        return json.dumps(self.table.project(row), ensure_ascii=False, sort_keys=True)

    def is_open_at(self, moment: int) -> bool:
        """Whether the set is published at an event time."""
        return (self.begins is None or self.begins <= moment) and (self.ends is None or moment < self.ends)

    def next_change(self, moment: int) -> int | None:
        """When the set opens or closes next."""
        return min((at for at in (self.begins, self.ends) if at is not None and at > moment), default=None)


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
        dataset = Dataset(
            **values, table=table, heat=heat and Heat(**heat), begins=entry.valid_from, ends=entry.valid_to
        )
        named = {*dataset.groups, *dataset.profile, *dataset.elements}
        if not dataset.groups or not named <= table.columns.keys():
            raise _fault(pack, code, "groups, counts or joins by a column that it does not show", "add it to columns")
        found[code] = dataset
    return found


def _fault(pack: Dated, code: str, what: str, fix: str) -> Misconfigured:
    return Misconfigured(pack.name, f"data set {code} {what}", fix=fix)


DATASETS = read_catalogue(HERE / "datasets.yaml")


def columns_of(dataset: Dataset) -> list[str]:
    """All that travels of a row to its group: the allow-list. A column that appears upstream stays closed (DOMAIN K1)."""
    return list(dataset.table.columns)


def faults(dataset: Dataset, contract: Contract) -> list[str]:
    """Why a data set must not be published under its feed's contract: the gate before the first row (DOMAIN §6.4)."""
    found: list[str] = []
    is_personal = False
    for column, treatment in dataset.table.columns.items():
        known = contract.by_name.get(column)
        if known is None:
            found.append(f"{column}: the feed has no such column")
            continue
        is_closed = known.gov.get("open") == "NOT_OPEN"
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
