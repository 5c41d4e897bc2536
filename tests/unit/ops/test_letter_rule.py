"""Which dead letters a rule tries, when, and until when; and what the headers of one say."""

from __future__ import annotations

import pytest

from ops.redelivery.letter import WAITING, Letter
from ops.redelivery.rule import due_at, first_failed_at, standing
from schemas.agreement.delivery_policy import RetriedLetters
from schemas.change import Record
from schemas.dead_letter import CONNECT, OURS, DeadLetter, Failure
from schemas.errors import Rejected

RULE = RetriedLetters(reasons=("sql_23514",), every_seconds=60.0, for_seconds=3_600.0)


def refused(message: str) -> Rejected:
    try:
        raise Rejected("sql_23514", message)
    except Rejected as error:
        return error


def letter(
    number: int, *, replays: int = 0, at: float = 1_000.0, cause: str = "sql_23514", state: str = WAITING
) -> Letter:
    written = DeadLetter(
        topic="out.a.police.person",
        partition=3,
        offset=number,
        key=b"k",
        value=b"\x00\x00\x00\x00\x07row",
        hop="deliver",
        reason=cause,
        detail="the target refuses it",
        position=f"p{number}",
        subscriber="a",
        taker="sub.a.main",
        failure=Failure.of(refused("the target refuses it"), at=at + 5, first_at=at, attempts=4),
        record_headers=[("grant_id", b"a.police.person"), ("mesh.replay.count", str(replays).encode())],
    )
    record = Record(number, b"k", written.value, list(written.headers()), int((at + 5) * 1000))
    headers = {name: value.decode() for name, value in record.headers or ()}
    return Letter(owner="a.police.person", offset=number, record=record, headers=headers, state=state)


def test_every_header_of_a_dead_letter_is_there_and_the_original_ones_stay() -> None:
    found = letter(7, replays=2)
    for name in (
        *("topic", "partition", "offset", "connector.name", "task.id", "stage", "class.name"),
        *("exception.class.name", "exception.message", "exception.stacktrace"),
    ):
        assert found.headers[f"{CONNECT}{name}"], name
    told = {name.removeprefix(OURS): value for name, value in found.headers.items() if name.startswith(OURS)}
    assert told == {
        "reason": "sql_23514",
        "event.id": "p7",
        "schema.id": "7",
        "subscriber": "a",
        "attempts": "4",
        "first_failed_at": "1970-01-01T00:16:40.000+00:00",
        "last_failed_at": "1970-01-01T00:16:45.000+00:00",
        "replay.count": "2",
    }
    assert found.replays == 2
    assert found.place == (3, 7)
    assert [name for name, _ in found.original_headers] == ["grant_id", "mesh.replay.count"]
    assert first_failed_at(found) == 1_000.0


def test_what_a_receiver_answered_is_told() -> None:
    error = refused("no")
    error.http_status = 422
    failure = Failure.of(error, at=1.0)
    letter = DeadLetter(
        topic="t", partition=0, offset=1, key=None, value=None, hop="deliver", reason="http_422", failure=failure
    )
    assert (f"{OURS}http.status", b"422") in letter.headers()


def test_of_each_cause_the_letter_that_was_tried_most_is_the_next_probe() -> None:
    letters = [
        letter(1),
        letter(2, replays=1),
        letter(3, cause="sql_23502"),
        letter(4, state="dropped"),
        letter(5, replays=1),
    ]
    [found] = standing(letters, RULE, 1_500.0).values()
    assert (found.tried.offset, found.count) == (2, 3)


def test_letters_that_are_too_old_wait_for_a_person() -> None:
    assert standing([letter(1)], RULE, 1_000.0 + 3_601) == {}


@pytest.mark.parametrize(("replays", "after"), [(0, 60), (1, 120), (2, 240), (4, 960)])
def test_each_time_that_a_letter_came_back_the_next_try_waits_twice_as_long(replays: int, after: int) -> None:
    assert due_at(RULE, letter(1, replays=replays)) == 1_005.0 + after


def test_no_wait_is_longer_than_a_day() -> None:
    seldom = RetriedLetters(reasons=("sql_23514",), every_seconds=80_000.0)
    assert due_at(seldom, letter(1, replays=3)) == 1_005.0 + 86_400
