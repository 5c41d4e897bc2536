"""Copy of a subscriber's drops: the files of a directory, read as a subscriber's program reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import parquet

from schemas.agreement.grant import Grant
from schemas.contract import Contract
from schemas.errors import Misconfigured
from sinks.copy import Held, by_wire, granted
from sinks.drops.csv_rows import csv_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCopy:
    """A folder of drops; `format` is jsonl, csv or parquet. `escape_formulas`: text of CSV may have an apostrophe before it."""

    directory: Path
    format: str = "jsonl"
    escape_formulas: bool = True

    def held(self, grant: Grant, contract: Contract, /) -> Iterator[Held]:
        """See Copy."""
        for manifest in sorted((self.directory / grant.delivered_as).glob("*.done.json")):
            path = manifest.with_name(json.loads(manifest.read_text())["file"])  # it counts once its manifest is there
            for row in self._rows(path, grant, contract):
                yield Held(by_wire(row, contract), row["_mesh_token"], row["_mesh_op"])

    def values_left(self, _grant: Grant, _contract: Contract, /) -> int:
        """See Copy."""
        return 0

    def _rows(self, path: Path, grant: Grant, contract: Contract) -> Iterable[Mapping[str, Any]]:
        match self.format:
            case "jsonl":
                return _lines(path)
            case "csv":
                return csv_rows(path, granted(grant, contract), grant.mask, has_apostrophes=self.escape_formulas)
            case "parquet":
                return parquet.read_table(path).to_pylist()
            case _:
                raise Misconfigured(str(path), f"is {self.format}", fix="compare drops of kind jsonl, csv or parquet")


def _lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:  # as bytes: text mode would also break lines where JSON has none
        for line in file:
            yield json.loads(line)
