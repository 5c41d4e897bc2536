"""A small flow that uses every word of the engine: tells, counts, timers, unfit rows; and the contracts of its feeds."""

from __future__ import annotations

from typing import Any

from schemas.contract import Contract
from streams.operators.flow import Flow, Fold, Input, Outcome, Row, Subject, Tell, Unfit
from tests.rehearsal import city_contracts, micros


def person(subject: Subject) -> Outcome:
    outcome = Outcome()
    for fact in subject.of("police.resident"):
        assert fact.row is not None
        outcome.publish(
            "demo.person", {"id": subject.id, "name": fact.row["name"], "vehicles": len(subject.told("owns"))}
        )
        outcome.counts["region:" + fact.row["hukou_region"], "people"] = 1
    return outcome


def vehicle(subject: Subject) -> Outcome:
    outcome = Outcome()
    for fact in subject.of("police.vehicle"):
        assert fact.row is not None
        outcome.tells.append(Tell(to=f"person:{fact.row['owner_id']}", tag="owns", row={"vin": subject.id}))
        overdue = fact.event_at + micros("1970-02-01") - micros("1970-01-01")
        if subject.now >= overdue:
            outcome.publish("demo.old", {"vin": subject.id})
        else:
            outcome.wake(overdue)
    outcome.reasons["demo.old"] = "RETRACTED"
    return outcome


def region(subject: Subject) -> Outcome:
    outcome = Outcome()
    if subject.counts:
        outcome.publish("demo.region", {"region": subject.id, "people": subject.counts["people"]})
    return outcome


def owner(row: Row) -> list[str]:
    if not row["citizen_id"]:
        raise Unfit("NO_ID")
    return [f"person:{row['citizen_id']}"]


FLOW = Flow(
    name="demo",
    inputs=[
        Input(feed="police.resident", subjects=owner, columns=["name", "hukou_region"]),
        Input(feed="police.vehicle", subjects=lambda row: [f"vehicle:{row['vin']}"], event_time="first_registered"),
    ],
    folds={"person": Fold(person), "vehicle": Fold(vehicle), "region": Fold(region, at_tick=True)},
    outputs={"demo.person": ["id"], "demo.old": ["vin"], "demo.region": ["region"], "demo.queue": ["conflict_id"]},
    queue="demo.queue",
)


def contracts() -> dict[str, Contract]:
    """Inputs and outputs of FLOW."""
    known = city_contracts()
    claim = {
        "type": "record",
        "name": "Claim",
        "fields": [
            {"name": "feed", "type": "string"},
            {"name": "position", "type": "string"},
            {"name": "value", "type": ["null", "string"], "default": None},
        ],
    }
    queue: dict[str, Any] = {
        "conflict_id": "string",
        "kind": "string",
        "subject_keys": {"type": "array", "items": "string"},
        "claims": {"type": "array", "items": claim},
        "detail": "string",
        "opened_at": {"type": "long", "logicalType": "timestamp-micros"},
        "state": "string",
        "decided_by": ["null", "string"],
        "decision": ["null", "string"],
    }
    derived: dict[str, dict[str, Any]] = {
        "demo.person": {"id": "string", "name": ["null", "string"], "vehicles": "long"},
        "demo.old": {"vin": "string"},
        "demo.region": {"region": "string", "people": "long"},
        "demo.queue": queue,
    }
    found = {feed: known[feed] for feed in ("police.resident", "police.vehicle")}
    for feed, columns in derived.items():
        record = {
            "type": "record",
            "name": feed.partition(".")[2].title(),
            "namespace": "gz.demo",
            "gov": {"provider": "demo", "key": list(FLOW.outputs[feed]), "resource": feed},
            "fields": [{"name": name, "type": kind} for name, kind in columns.items()],
        }
        found[feed] = Contract.parse(record, feed)
    return found
