"""Online samples (在线抽样, HANDBOOK K3): reproducible from a stated number, limited in size, of published rows and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from streams.operators.flow import Row
from streams.operators.publish import sample

SIZE_MAX = 1000


def choose(row_nos: Iterable[str], dataset: str, number: str, size: int) -> list[str]:
    """Which published rows of a data set are its sample, in the order of the draw; `number` is the stated sampling number."""
    return sample(row_nos, f"{dataset}\n{number}", size, SIZE_MAX)


def draw(published: Iterable[Row], dataset: str, number: str, size: int) -> list[dict[str, Any]]:
    """What the sample of a data set shows, from rows of `open.dataset`."""
    rows = {row["row_no"]: row for row in published if row["dataset"] == dataset}
    return [json.loads(rows[row_no]["content"]) for row_no in choose(rows, dataset, number, size)]
