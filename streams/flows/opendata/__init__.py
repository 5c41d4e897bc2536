"""Open data (数据开放, HANDBOOK §4 K): rows by allow-list, in groups of at least k, and what follows from published rows.

    feed ──▶ group:<dataset>|<quasi-identifiers> ──▶ open.dataset, open.delta
        │            ├──counts──▶ profile:<dataset> ──▶ open.profile
        │            └──counts──▶ value:<element>|<value> ──counts──▶ relation:<element> ──▶ open.relation
        └──▶ cell:<dataset>|<column>|<line> ──counts──▶ area:…, region:<dataset>|<region>; all three ──▶ open.heat

Groups, cells and figures are folded at ticks: between two of them differences gather. A further data set is an entry in
datasets.yaml. The city's outline (guangzhou.csv) is coarse: it tells a typing error from an address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from streams.flows.opendata.catalogue import DATASETS, Dataset, columns_of
from streams.flows.opendata.group import DELTA, ROWS, fold_group
from streams.flows.opendata.heat import HEAT, fold_area, fold_cell, fold_region, places_of
from streams.flows.opendata.profile import PROFILE, fold_profile
from streams.flows.opendata.relation import RELATION, fold_relation, fold_value
from streams.operators.flow import QUEUE_KEY, Flow, Fold, Input, Row

QUEUE = "open.queue"


def _group_of(dataset: Dataset) -> Callable[[Row], Iterable[str]]:
    return lambda row: [dataset.group(row)] if dataset.has(row) else []


def _inputs() -> list[Input]:
    inputs: list[Input] = []
    for dataset in DATASETS.values():
        inputs.append(Input(feed=dataset.feed, subjects=_group_of(dataset), columns=columns_of(dataset)))
        if dataset.heat is not None and dataset.heat.has_points:
            places = partial(places_of, dataset)
            inputs.append(Input(feed=dataset.feed, subjects=places, columns=[dataset.heat.region]))
    return inputs


FLOW = Flow(
    name="open",
    inputs=_inputs(),
    folds={
        "group": Fold(fold_group, at_tick=True),
        "profile": Fold(fold_profile, at_tick=True),
        "value": Fold(fold_value),
        "relation": Fold(fold_relation, at_tick=True),
        "cell": Fold(fold_cell, at_tick=True),
        "area": Fold(fold_area, at_tick=True),
        "region": Fold(fold_region, at_tick=True),
    },
    outputs={
        ROWS: ["dataset", "row_no"],
        DELTA: ["dataset", "quasi_group"],
        PROFILE: ["dataset", "column"],
        RELATION: ["from_dataset", "from_column", "to_dataset", "to_column"],
        HEAT: ["dataset", "level", "place"],
        QUEUE: QUEUE_KEY,
    },
    queue=QUEUE,
)
