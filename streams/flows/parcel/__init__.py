"""Land-transfer payments (土地出让金, HANDBOOK §1.4): is each parcel paid for by its date, what is outstanding, and where.

land.parcel_sale ──▶ contract ──counts──▶ region          by the dated terms of terms.yaml
                        └──▶ parcel.payment, parcel.queue    └──▶ parcel.statistic

Whether tax follows from a payment is another question, rule W8 of the tax flow.
"""

from __future__ import annotations

from streams.flows.parcel.payment import COLUMNS, PAYMENT, QUEUE, SALE, STATISTIC, fold_contract, fold_region
from streams.operators.flow import QUEUE_KEY, Flow, Fold, Input, keyed

_contract = keyed("contract", "contract_no")

FLOW = Flow(
    name="parcel",
    inputs=[
        Input(feed=SALE, subjects=_contract, columns=COLUMNS, event_time="updated_at", keeps_history=True, stays=True)
    ],
    folds={"contract": Fold(fold_contract), "region": Fold(fold_region, at_tick=True)},
    outputs={PAYMENT: ("contract_no",), STATISTIC: ("region",), QUEUE: QUEUE_KEY},
    queue=QUEUE,
)
