"""Price-capped housing (限价房申购, HANDBOOK §1.4, with §4 G as template): may this household apply for such a home?

application, members ──▶ case ──questions──▶ person, name ◀── registers of sources.csv
                          │  ▲──────────evidence───┘
                          └──▶ housing.verdict, housing.queue           by the dated limits of conditions.yaml
"""

from __future__ import annotations

from streams.flows.housing.case import APPLICATION, MEMBER, QUEUE, SOURCES, VERDICT, fold_case
from streams.flows.inquiry.evidence import folds, inputs
from streams.operators.flow import QUEUE_KEY, Flow, Fold, Input, keyed

_case = keyed("case", "app_no")

FLOW = Flow(
    name="housing",
    inputs=[
        Input(
            feed=APPLICATION,
            subjects=_case,
            columns=("applicant_id", "name", "region", "submitted_at", "status"),
            event_time="submitted_at",
        ),
        Input(feed=MEMBER, subjects=_case, columns=("name",)),
        *inputs(SOURCES),
    ],
    folds={"case": Fold(fold_case), **folds(SOURCES)},
    outputs={VERDICT: ("app_no",), QUEUE: QUEUE_KEY},
    queue=QUEUE,
    verdicts=("PASS", "FAIL", "NEED_INFO"),
)
