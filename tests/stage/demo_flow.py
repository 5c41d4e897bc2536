"""A small flow that uses every word of the engine: tells, counts, timers, unfit rows; and the contracts of its feeds."""

from __future__ import annotations

from functools import partial
from typing import Any

from schemas.contract import Contract
from streams.operators.flow import Fact, Flow, Fold, Input, Outcome, RejectedRow, Row, Subject, Tell
from streams.operators.merge import conflict
from tests.stage.rehearsal import city_contracts, micros

DERIVED: dict[str, dict[str, Any]] = {
    "demo.person": {"id": "string", "name": ["null", "string"], "vehicles": "long"},
    "demo.old": {"vin": "string"},
    "demo.region": {"region": "string", "people": "long"},
}
CLAIM = {
    "type": "record",
    "name": "Claim",
    "fields": [
        {"name": "feed", "type": "string"},
        {"name": "position", "type": "string"},
        {"name": "value", "type": ["null", "string"], "default": None},
    ],
}
DOUBTED = "?"
QUEUE: dict[str, Any] = {
    "conflict_id": "string",
    "kind": "string",
    "subject_keys": {"type": "array", "items": "string"},
    "claims": {"type": "array", "items": CLAIM},
    "detail": "string",
    "opened_at": {"type": "long", "logicalType": "timestamp-micros"},
    "state": "string",
    "decided_by": ["null", "string"],
    "decision": ["null", "string"],
}


def doubt(fact: Fact) -> Row:
    """The item of a vehicle whose plate is in doubt: an officer may leave it out."""
    return conflict("PLATE_DOUBTED", [f"vehicle:{fact.row_id}"], [fact])


def person(subject: Subject, prefix: str = "") -> Outcome:
    outcome = Outcome()
    for fact in subject.of(f"{prefix}police.resident"):
        assert fact.row is not None
        vehicles = len(subject.told("owns"))
        outcome.publish(f"{prefix}demo.person", {"id": subject.id, "name": fact.row["name"], "vehicles": vehicles})
        outcome.counts["region:" + fact.row["hukou_region"], "people"] = 1
    return outcome


def vehicle(subject: Subject, prefix: str = "") -> Outcome:
    outcome = Outcome()
    for fact in subject.of(f"{prefix}police.vehicle"):
        assert fact.row is not None
        if fact.row.get("plate_no") == DOUBTED:
            outcome.publish(f"{prefix}demo.queue", doubt(fact))
        outcome.tells.append(Tell(to=f"person:{fact.row['owner_id']}", tag="owns", row={"vin": subject.id}))
        overdue = fact.event_at + micros("1970-02-01") - micros("1970-01-01")
        if subject.now >= overdue:
            outcome.publish(f"{prefix}demo.old", {"vin": subject.id})
        else:
            outcome.wake(overdue)
    outcome.reasons[f"{prefix}demo.old"] = "RETRACTED"
    return outcome


def region(subject: Subject, prefix: str = "") -> Outcome:
    outcome = Outcome()
    if subject.counts:
        outcome.publish(f"{prefix}demo.region", {"region": subject.id, "people": subject.counts["people"]})
    return outcome


def owner(row: Row) -> list[str]:
    if not row["citizen_id"]:
        raise RejectedRow("NO_ID")
    return [f"person:{row['citizen_id']}"]


def flow(prefix: str = "") -> Flow:
    """The flow on feeds whose names start so: tests that share a broker must not meet."""
    return Flow(
        name="demo",
        inputs=[
            Input(feed=f"{prefix}police.resident", subjects=owner, columns=["name", "hukou_region"]),
            Input(
                feed=f"{prefix}police.vehicle",
                subjects=lambda row: [f"vehicle:{row['vin']}"],
                event_time="first_registered",
            ),
        ],
        folds={
            "person": Fold(partial(person, prefix=prefix)),
            "vehicle": Fold(partial(vehicle, prefix=prefix)),
            "region": Fold(partial(region, prefix=prefix), at_tick=True),
        },
        outputs={
            f"{prefix}demo.person": ["id"],
            f"{prefix}demo.old": ["vin"],
            f"{prefix}demo.region": ["region"],
            f"{prefix}demo.queue": ["conflict_id"],
        },
        queue=f"{prefix}demo.queue",
    )


FLOW = flow()


def contracts(prefix: str = "") -> dict[str, Contract]:
    """Inputs and outputs of the flow, by feed."""
    known = city_contracts()
    found: dict[str, Contract] = {}
    for feed in ("police.resident", "police.vehicle"):
        record = known[feed].record  # without its rules: the rows of these tests are not whole
        found[prefix + feed] = Contract.parse({**record, "gov": {**record["gov"], "rules": []}}, prefix + feed)
    of = flow(prefix)
    for name, columns in {**DERIVED, "demo.queue": QUEUE}.items():
        feed = prefix + name
        record = {
            "type": "record",
            "name": name.partition(".")[2].title(),
            "namespace": "gz.demo",
            "gov": {"provider": "demo", "key": list(of.outputs[feed]), "resource": feed},
            "fields": [{"name": column, "type": kind} for column, kind in columns.items()],
        }
        found[feed] = Contract.parse(record, feed)
    return found
