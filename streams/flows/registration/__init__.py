"""Commercial registration (商事登记): licence first, permits after (先照后证, HANDBOOK §4 H).

A registration is pushed to every department that its items require (双告知), the departments claim it, refuse it or pass it on,
permits and penalties join by the numbers of the entity, and the public page shows what may be shown.

| kind               | subject                                  | fold        |
|--------------------|------------------------------------------|-------------|
| `entity`           | a registered entity, by `ent_id`          | entity.py   |
| `org`, `reg`       | an organisation code, a registration number | holder.py |
| `person`           | a natural person whom a permit or penalty names | holder.py |
| `unfit`            | a permit or penalty without a usable number | holder.py |
| `topic`, `board`   | the sums of a data topic, all topics      | tally.py    |
"""

from __future__ import annotations

from streams.flows.registration.entity import CLAIMS, ENTERPRISE, QUEUE, REFUSAL, entity
from streams.flows.registration.holder import (
    LICENCES,
    PENALTIES,
    licence_holder,
    number,
    penalty_holder,
    person,
    sole_trader,
    unfit,
)
from streams.flows.registration.item import SCOPE
from streams.flows.registration.page import CHANGE, DISCLOSURE, LISTING
from streams.flows.registration.pushing import CLAIM, POOL, PUSH
from streams.flows.registration.tally import board, topic
from streams.operators.flow import Flow, Fold, Input, Row

_PAGE = (
    "uscc",
    "registration_no",
    "org_code",
    "name",
    "kind",
    "industry",
    "scope_text",
    "legal_rep_name",
    "capital",
    "currency",
    "registry",
    "reg_region",
    "address",
    "established",
    "expires",
    "status",
    "status_date",
)
_LICENCE = ("holder_id", "holder_name", "uscc", "item_code", "issuer", "issue_date", "valid_to", "status")
_PENALTY = (
    "subject_kind",
    "subject_id",
    "subject_name",
    "cause",
    "basis",
    "result",
    "amount",
    "decided_date",
    "publish_until",
    "revoked_date",
)


def _of_entity(row: Row) -> list[str]:
    return [f"entity:{row['ent_id']}"]


FLOW = Flow(
    name="registration",
    inputs=[
        Input(feed=ENTERPRISE, subjects=_of_entity, columns=_PAGE, keeps_history=True),
        Input(feed=ENTERPRISE, subjects=sole_trader, columns=("name", "kind", "status")),
        Input(feed=SCOPE, subjects=_of_entity, columns=("permit_kind",), keeps_history=True),
        Input(feed=CHANGE, subjects=_of_entity, columns=("item", "changed_date")),
        Input(feed=LISTING, subjects=_of_entity, columns=("cause", "removed_date")),
        *(
            Input(
                feed=feed,
                subjects=_of_entity,
                columns=("action", "reroute_to", "reason", "acted_at"),
                event_time="acted_at",
                keeps_history=True,
            )
            for feed in CLAIMS
        ),
        *(Input(feed=feed, subjects=licence_holder, columns=_LICENCE) for feed in LICENCES),
        *(Input(feed=feed, subjects=penalty_holder, columns=_PENALTY) for feed in PENALTIES),
    ],
    folds={
        "entity": Fold(entity),
        "org": Fold(number),
        "reg": Fold(number),
        "person": Fold(person),
        "unfit": Fold(unfit),
        "topic": Fold(topic, at_tick=True),
        "board": Fold(board, at_tick=True),
    },
    outputs={
        PUSH: ["ent_id", "item_code", "agency", "district"],
        CLAIM: ["ent_id", "item_code", "agency", "district"],
        POOL: ["ent_id", "item_code", "agency"],
        DISCLOSURE: ["ent_id"],
        "registration.topic": ["topic_code"],
        REFUSAL: ["refusal_id"],
        QUEUE: ["conflict_id"],
    },
    queue=QUEUE,
)
