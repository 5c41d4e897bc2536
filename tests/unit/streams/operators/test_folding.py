from __future__ import annotations

from dataclasses import replace

from schemas.change import Op
from streams.operators.flow import Flow, Fold, Input, Outcome, Subject
from tests.stage.demo_flow import FLOW, contracts, person
from tests.stage.rehearsal import Rehearsal, days, micros


def test_a_row_that_moves_to_another_subject_leaves_the_former() -> None:
    city = Rehearsal(FLOW)
    city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106")
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    assert city.rows("demo.person")["1"]["vehicles"] == 1
    city.update("police.vehicle", {"vin": "V"}, owner_id="2")
    assert city.rows("demo.person")["1"]["vehicles"] == 0


def test_counts_follow_a_move_and_a_delete() -> None:
    city = Rehearsal(FLOW)
    for number in "123":
        city.insert("police.resident", citizen_id=number, name="甲", hukou_region="440106")
    assert not city.rows("demo.region"), "a group is folded at ticks"
    city.tick("2016-11-01")
    assert city.rows("demo.region")["440106"]["people"] == 3
    city.update("police.resident", {"citizen_id": "1"}, hukou_region="440103")
    city.delete("police.resident", {"citizen_id": "2"})
    city.tick("2016-11-02")
    assert {key: row["people"] for key, row in city.rows("demo.region").items()} == {"440106": 1, "440103": 1}


def test_a_timer_fires_once_by_event_time_and_is_withdrawn_with_its_reason() -> None:
    city = Rehearsal(FLOW)
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    city.tick("2016-01-31")
    assert not city.rows("demo.old")
    city.tick("2016-02-01")
    city.tick("2016-02-02")
    assert len(city.changes_of("demo.old")) == 1
    city.delete("police.vehicle", {"vin": "V"})
    assert [change.reason for change in city.changes_of("demo.old")] == [None, "RETRACTED"]


def test_an_unfit_row_waits_in_the_queue_until_it_is_mended() -> None:
    city = Rehearsal(FLOW)
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    change = city.change("police.resident", None, city.row("police.resident", {"citizen_id": "", "name": "甲"}))
    city.take([change])
    assert [item["kind"] for item in city.queue()] == ["NO_ID"]
    city.take([city.change("police.resident", change.after, None)])
    assert not city.queue()


def test_an_older_or_repeated_change_is_refused() -> None:
    city = Rehearsal(FLOW)
    first = city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106")
    city.update("police.resident", {"citizen_id": "1"}, name="乙")
    before = dict(city.store.entries())
    city.take([first])
    assert city.store.entries() == before
    assert city.rows("demo.person")["1"]["name"] == "乙"


def test_a_fold_that_fails_keeps_what_was_published_and_says_so() -> None:
    def broken(subject: Subject) -> Outcome:
        if any(fact.row and fact.row["name"] == "bad" for fact in subject.of("police.resident")):
            raise KeyError("x")
        return person(subject)

    flow = Flow(
        name="demo",
        inputs=FLOW.inputs,
        folds={**FLOW.folds, "person": Fold(broken)},
        outputs=FLOW.outputs,
        queue="demo.queue",
    )
    city = Rehearsal(flow)
    city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106")
    city.update("police.resident", {"citizen_id": "1"}, name="bad")
    assert [item["kind"] for item in city.queue()] == ["FOLD_FAILED"]
    assert city.rows("demo.person")["1"]["name"] == "甲"
    city.update("police.resident", {"citizen_id": "1"}, name="乙")
    assert not city.queue()
    assert city.rows("demo.person")["1"]["name"] == "乙"


def test_a_truncate_takes_every_row_of_its_feed() -> None:
    city = Rehearsal(FLOW)
    for number in "123":
        city.insert("police.resident", citizen_id=number, name="甲", hukou_region="440106")
    city.take([city.change("police.resident", None, None, Op.TRUNCATE)])
    assert not city.rows("demo.person")
    city.tick("2016-11-01")
    assert not city.rows("demo.region")


def test_what_it_publishes_fits_its_contracts() -> None:
    city = Rehearsal(FLOW, contracts())
    city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106")
    city.insert("police.resident", citizen_id="", name="乙")
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    city.tick("2016-11-01")
    assert all(city.rows(feed) for feed in FLOW.outputs)
    city.check_rows()


def test_a_patient_subject_is_read_once_however_often_news_comes() -> None:
    folded: list[int] = []

    def roster(subject: Subject) -> Outcome:
        folded.append(len(subject.of("police.resident")))
        outcome = Outcome()
        if subject.now < micros("2016-11-20"):
            outcome.wake(micros("2016-11-20"))
        else:
            outcome.publish("demo.region", {"region": subject.id, "people": folded[-1]})
        return outcome

    flow = Flow(
        name="demo",
        inputs=[Input(feed="police.resident", subjects=lambda row: [f"region:{row['hukou_region']}"])],
        folds={"region": Fold(roster, at_tick=True, is_patient=True)},
        outputs={"demo.region": ["region"], "demo.queue": ["conflict_id"]},
        queue="demo.queue",
    )
    city = Rehearsal(flow)
    for day in range(1, 10):
        city.insert("police.resident", citizen_id=str(day), name="甲", hukou_region="440106")
        city.tick(f"2016-11-0{day}")
    assert folded == [1], "the first fold asked for the twentieth"
    city.tick("2016-11-20")
    assert city.rows("demo.region")["440106"]["people"] == 9
    city.delete("police.resident", {"citizen_id": "1"})
    city.tick("2016-11-21")
    assert folded == [1, 9, 8], "nothing asked for: news come at the next tick"


def test_an_update_of_what_does_not_travel_is_no_news_and_history_does_not_grow() -> None:
    folded: list[str] = []

    def counting(subject: Subject) -> Outcome:
        folded.append(subject.key)
        return person(subject)

    inputs = [replace(entry, keeps_history=True) for entry in FLOW.inputs]
    flow = replace(FLOW, inputs=inputs, folds={**FLOW.folds, "person": Fold(counting)})
    city = Rehearsal(flow)
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    city.now = "2016-10-31"
    city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106")
    folded.clear()
    for number in range(50):
        city.update("police.resident", {"citizen_id": "1"}, mobile=str(number))
    assert not folded
    fact = next(value for key, value in city.store.entries().items() if b"\0fpolice.resident" in key)
    assert len(fact) < 400
    city.update("police.resident", {"citizen_id": "1"}, name="乙")
    assert folded
