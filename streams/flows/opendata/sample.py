"""Online samples (在线抽样, DOMAIN K3): reproducible from a stated number, limited in size, of published rows and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from streams.operators.flow import Row
from streams.operators.publish import sample

SIZE_MAX = 1000


def draw(published: Iterable[Row], dataset: str, number: str, size: int) -> list[dict[str, Any]]:
    """A sample of a data set's rows on `open.dataset`, in the order of the draw; `number` is the stated sampling number."""
    rows = {row["row_no"]: row for row in published if row["dataset"] == dataset}
    chosen = sample(rows, f"{dataset}\n{number}", size, SIZE_MAX)
    return [json.loads(rows[identity]["content"]) for identity in chosen]
