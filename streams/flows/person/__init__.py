"""Base person archive (公民基础档案): one versioned record per person, from eight departments' tables (HANDBOOK §2.5, §4 C).

evidence    which subjects a row speaks of, and what it says in the archive's words
move        identity numbers that changed: what is known of the old number goes to the new one
ladder      P0 to P3: is a row under a number really that person's
name_index  P4 to P7: rows without a usable number
life        alive or not, when sources agree, and what a wrong death leaves behind
timeline    base.person_event, with the stop and restore events
archive     the record, its identifiers and its conflicts
"""

from __future__ import annotations

from streams.flows.person.archive import person
from streams.flows.person.evidence import INPUTS
from streams.flows.person.identifier import document
from streams.flows.person.name_index import name_index
from streams.flows.person.number import number
from streams.operators.flow import Flow, Fold

__all__ = ["FLOW"]

FLOW = Flow(
    name="person",
    inputs=INPUTS,
    folds={
        "person": Fold(person),
        "hmt": Fold(person),
        "passport": Fold(person),
        "number": Fold(number),
        "document": Fold(document),
        "name": Fold(name_index),
    },
    outputs={
        "base.person": ["id_type", "id_no"],
        "base.person_event": ["event_id"],
        "base.identifier": ["id_type", "id_no"],
        "base.conflict": ["conflict_id"],
    },
    queue="base.conflict",
    acceptable=frozenset({"NAME_CONFLICT"}),
)
