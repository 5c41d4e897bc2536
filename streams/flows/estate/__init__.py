"""Real-estate early warning (房地产预警预报, HANDBOOK §1.4): prices and sales by month and district, and where they move too fast.

land.property_sale, land.property ──▶ unit ──counts──▶ region ──▶ estate.index, estate.warning    by the dated limits of limits.yaml
                                        └──▶ estate.queue
"""

from __future__ import annotations

from streams.flows.estate.market import INDEX, PROPERTY, QUEUE, SALE, WARNING, fold_region, fold_unit
from streams.operators.flow import QUEUE_KEY, Flow, Fold, Input, keyed

FLOW = Flow(
    name="estate",
    inputs=[
        Input(feed=SALE, subjects=keyed("unit", "unit_no"), columns=("price", "signed_date"), event_time="signed_date"),
        Input(feed=PROPERTY, subjects=keyed("unit", "unit_no"), columns=("usage", "area_m2", "region"), stays=True),
    ],
    folds={"unit": Fold(fold_unit), "region": Fold(fold_region, at_tick=True)},
    outputs={INDEX: ("region", "period"), WARNING: ("region", "period", "kind"), QUEUE: QUEUE_KEY},
    queue=QUEUE,
)
