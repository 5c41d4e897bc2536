"""Parts: `python -m streams.flows.opendata.parts` writes parts.csv, the data sets that are made of whole groups of another one.

Deterministic from datasets.yaml, the example city's contracts, today's districts and the departments (publishers.csv). A part
has no rows of its own: it costs no state, splits no group (so it is as k-anonymous as its whole), and is published at the same
moment, so that nothing can be had by subtracting one from the other.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import schemas
from schemas.dated.configuration import dated
from streams.flows.opendata.catalogue import HERE, PUBLISHERS

CITY = Path(schemas.__file__).parent / "guangzhou"
_FLOWS = HERE.parent
_COLUMNS: Sequence[str] = ("dataset", "whole", "title", "theme", "agency", "standing", "column", "value")


def render() -> str:
    """The text of parts.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for entry in dated(HERE / "datasets.yaml", ["dataset"]).entries:
        for spec in entry.values.get("parts", ()):
            writer.writerows(_parts(entry.values, spec))
    return text.getvalue()


def _parts(whole: Mapping[str, Any], spec: Mapping[str, str]) -> Iterable[Mapping[str, str]]:
    column = spec["by"]
    wanted = whole.get("where", {}).get(column)
    for value, name in _values(whole, spec).items():
        if wanted is not None and value not in wanted:
            continue
        yield {
            "dataset": f"{whole['dataset']}_{value.lower()}",
            "whole": whole["dataset"],
            "title": spec["title"].format(name=name, value=value),
            "theme": PUBLISHERS[value].theme if spec["from"] == "publishers" else whole["theme"],
            "agency": spec.get("agency", whole["agency"]).format(value=value),
            "standing": spec.get("standing", "OWN"),
            "column": column,
            "value": value,
        }


def _values(whole: Mapping[str, Any], spec: Mapping[str, str]) -> Mapping[str, str]:
    """The values of which there is a part each, with their names."""
    match spec["from"]:
        case "regions":
            lines = _lines(_FLOWS / "regions.csv")
            return {line["code"]: line["name"] for line in lines if line["parent"] == "440100" and not line["valid_to"]}
        case "publishers":
            named = _named(spec["of"]) - (_named(spec["without"]) if "without" in spec else set())
            return {code: publisher.name for code, publisher in PUBLISHERS.items() if code in named}
        case _:
            agency, _, table = whole["feed"].partition(".")
            record = json.loads((CITY / agency / f"{table}.avsc").read_text(encoding="utf-8"))
            [found] = [field for field in record["fields"] if field["name"] == spec["by"]]
            return found["gov"]["values"]


_AGENCY_COLUMN = {"certificate/types.csv": "issuer_agency", "registration/topics.csv": "agency"}


def _named(table: str) -> set[str]:
    return {line[_AGENCY_COLUMN[table]] for line in _lines(_FLOWS / table)}


def _lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


if __name__ == "__main__":
    (HERE / "parts.csv").write_text(render(), encoding="utf-8")
