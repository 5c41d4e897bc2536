"""A past that is replayed: rows of 2016 whose commits are of today. A fold sees one calendar, an envelope the source's commit."""

from __future__ import annotations

from schemas.change import Op
from streams.operators.flow import Flow, Fold, Input, Outcome, Subject
from tests.stage.demo_flow import FLOW
from tests.stage.rehearsal import Rehearsal, days, micros

TODAY = "2026-11-29"
WRITTEN = micros("2016-10-31")
HOUR = 3_600_000_000


class Stage:
    """The flow of two registers, which shows what its folds are told of time."""

    def __init__(self) -> None:
        self.facts: list[tuple[str, int, int]] = []
        flow = Flow(
            name="demo",
            inputs=[
                Input(feed="police.resident", subjects=lambda _: ["person:1"], keeps_history=True),
                Input(feed="police.vehicle", subjects=lambda _: ["person:1"], event_time="first_registered"),
                Input(feed="base.uscc_coverage", subjects=lambda _: ["person:1"]),
            ],
            folds={"person": Fold(self._fold)},
            outputs=FLOW.outputs,
            queue="demo.queue",
        )
        self.city = Rehearsal(flow, now=TODAY, is_replay=True)

    def _fold(self, subject: Subject) -> Outcome:
        self.facts = [
            (fact.feed, version.event_at, version.committed_at_ms)
            for rows in subject.facts.values()
            for fact in rows.values()
            for version in (*fact.earlier, fact)
        ]
        outcome = Outcome()
        outcome.publish("demo.person", {"id": "1", "name": None, "vehicles": len(self.facts)})
        return outcome

    def resident(self, written: int = WRITTEN) -> None:
        self.city.insert("police.resident", citizen_id="1", name="甲", updated_at=written)


def test_a_row_is_of_when_its_department_wrote_it_and_what_follows_bears_the_commit() -> None:
    stage = Stage()
    stage.resident()
    assert stage.facts == [("police.resident", WRITTEN, WRITTEN // 1000)]
    assert stage.city.intake.clock == WRITTEN
    [change] = stage.city.history
    assert change.committed_at_ms == micros(TODAY) // 1000, "latency is measured by it"


def test_a_task_that_forgot_everything_still_knows_both_times() -> None:
    stage = Stage()
    stage.resident()
    stage.city.update("police.resident", {"citizen_id": "1"}, name="乙", updated_at=WRITTEN + HOUR)
    stage.city.folding.forget()
    stage.city.insert("police.vehicle", vin="V", first_registered=days("2016-01-01"), updated_at=WRITTEN)
    assert sorted(stage.facts) == [
        ("police.resident", WRITTEN, WRITTEN // 1000),
        ("police.resident", WRITTEN + HOUR, (WRITTEN + HOUR) // 1000),
        ("police.vehicle", micros("2016-01-01"), WRITTEN // 1000),
    ]
    assert {change.committed_at_ms for change in stage.city.history} == {micros(TODAY) // 1000}


def test_a_row_that_goes_goes_after_it_was_written_and_not_before_the_flows_time() -> None:
    stage = Stage()
    stage.resident()
    stage.city.delete("police.resident", {"citizen_id": "1"})
    assert stage.facts[-1][2] == WRITTEN // 1000 + 1
    stage.resident(WRITTEN + HOUR)
    stage.city.insert("police.vehicle", vin="V", updated_at=WRITTEN + 5 * HOUR)
    stage.city.delete("police.resident", {"citizen_id": "1"})
    stage.city.insert("police.vehicle", vin="W", updated_at=WRITTEN + 5 * HOUR)
    assert [at for feed, _, at in stage.facts if feed == "police.resident"][-1] == (WRITTEN + 5 * HOUR) // 1000


def test_a_table_that_is_emptied_leaves_no_time_of_its_own() -> None:
    """A fold tells by it that nobody's row went, but the whole table."""
    stage = Stage()
    stage.resident()
    stage.city.update("police.resident", {"citizen_id": "1"}, name="乙", updated_at=WRITTEN + HOUR)
    stage.city.take([stage.city.change("police.resident", None, None, Op.TRUNCATE)])
    assert [at for _, _, at in stage.facts] == [WRITTEN // 1000, *[(WRITTEN + HOUR) // 1000] * 2]


def test_a_feed_that_says_nothing_of_time_is_of_the_flows_time() -> None:
    stage = Stage()
    stage.resident()
    stage.city.insert("base.uscc_coverage", population="P")
    assert {at for _, _, at in stage.facts} == {WRITTEN // 1000}
    assert stage.city.intake.clock == WRITTEN


def test_a_clock_that_goes_wrong_at_a_department_is_no_later_than_the_commit() -> None:
    stage = Stage()
    stage.resident(micros("2031-01-01"))
    assert stage.city.intake.clock == micros(TODAY)


def test_sums_bear_the_commit_that_changed_them() -> None:
    for is_replay in (False, True):
        city = Rehearsal(FLOW, now=TODAY, is_replay=is_replay)
        city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106", updated_at=WRITTEN)
        city.tick(TODAY)
        [change] = city.changes_of("demo.region")
        assert change.committed_at_ms == micros(TODAY) // 1000
