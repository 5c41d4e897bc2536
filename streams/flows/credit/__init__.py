"""Public credit (公共信用, HANDBOOK §4 I): records of many departments, in five databases (五库) and three views (三系统).

    gathered feed ──▶ record:<record_id> ──ask──▶ identifier:<type>|<number> ◀── registers
                          │    ▲                        │
                          │    └────────owner───────────┘
                          ├──▶ one database, or credit.unmatched with a reason; views; credit.objection
                          ├──black──▶ party:<subject> ──▶ credit.joint_punishment
                          └──counts─▶ statistic:<feed> ──▶ statistic:ALL

A further feed is an entry in feeds.yaml, a further register one in registers.yaml; what each view shows is fields.csv, what
follows from a black record measures.csv. All are dated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from streams.flows.credit.match import fold_identifier, register_identifiers
from streams.flows.credit.objection import FEED as OBJECTION_FEED
from streams.flows.credit.objection import QUEUE
from streams.flows.credit.party import JOINT, STATISTIC, fold_party, fold_statistic
from streams.flows.credit.record import REPAIR_FEED, about_record, database, fold_record, record_id_of, view
from streams.flows.credit.sources import FEEDS, KINDS, REGISTERS, VIEWS, feed_columns, register_columns
from streams.operators.flow import QUEUE_KEY, Flow, Fold, Input, Row, row_id

_OBJECTION_COLUMNS = ("record_id", "field", "seen_value_hash", "raised_at", "state", "decided_at")


def _record_of(feed: str, key: Sequence[str]) -> Callable[[Row], Iterable[str]]:
    return lambda row: [f"record:{record_id_of(feed, row_id(row, key))}"]


def _feed_inputs() -> list[Input]:
    """One input for each gathered feed; with several dated entries, the newest one's key and date columns."""
    newest: dict[str, Mapping[str, Any]] = {entry.values["feed"]: entry.values for entry in FEEDS.entries}
    return [
        Input(
            feed=feed,
            subjects=_record_of(feed, entry["key"]),
            columns=feed_columns(feed),
            event_time=entry.get("happened"),
        )
        for feed, entry in newest.items()
    ]


def _register_inputs() -> list[Input]:
    return [
        Input(
            feed=entry.values["feed"],
            subjects=partial(register_identifiers, entry.values),
            columns=register_columns(entry.values),
        )
        for entry in REGISTERS.entries
    ]


FLOW = Flow(
    name="credit",
    inputs=[
        *_feed_inputs(),
        *_register_inputs(),
        Input(
            feed=OBJECTION_FEED,
            subjects=about_record,
            columns=_OBJECTION_COLUMNS,
            event_time="raised_at",
        ),
        Input(
            feed=REPAIR_FEED,
            subjects=about_record,
            columns=("record_id", "status"),
            event_time="repaired_date",
        ),
    ],
    folds={
        "record": Fold(fold_record),
        "identifier": Fold(fold_identifier),
        "party": Fold(fold_party),
        "statistic": Fold(fold_statistic, at_tick=True),
    },
    outputs={
        **{database(kind): ["record_id"] for kind in KINDS},
        **{view(name): ["record_id"] for name in VIEWS},
        "credit.unmatched": ["record_id"],
        "credit.objection": ["objection_id"],
        JOINT: ["subject_key", "measure", "agency"],
        STATISTIC: ["source_feed"],
        QUEUE: QUEUE_KEY,
    },
    queue=QUEUE,
)
