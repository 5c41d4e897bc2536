from __future__ import annotations

import json

from ops.show.tail import HIDDEN, View
from ops.show.tail_dead import dead_letters
from schemas.change import Batch, Record
from schemas.dead_letter import DeadLetter
from tests.unit.ops.test_tail import CODEC, COMMITTED_AT_MS, CONTRACT, ROW, record

TOPIC = "dlq.aic.enterprise"


def letter(value: Record, **more: str) -> Record:
    told = DeadLetter(
        topic="aic.enterprise",
        partition=2,
        offset=17,
        key=None,
        value=None,
        hop="enrich",
        reason="rule_uscc_ok",
        **more,
    )
    return value._replace(headers=list(told.headers()), timestamp_ms=COMMITTED_AT_MS)


def lines(*records: Record, as_json: bool = False, is_revealed: bool = False) -> list[str]:
    view = View(contract=CONTRACT, is_revealed=is_revealed)
    batch = Batch(topic=TOPIC, partition=0, records=list(records))
    return list(dead_letters(TOPIC, [batch], CODEC, view, as_json=as_json))


def test_a_dead_letter_says_why_and_where_and_hides_every_value() -> None:
    headline, line = lines(letter(record("c", None, ROW)))
    assert "values are hidden" in headline
    for expected in ("enrich: rule_uscc_ok", "aic.enterprise p2@17", f"citizen_id={HIDDEN}", f"founded={HIDDEN}"):
        assert expected in line
    for value in ("440106198001011234", "陈静", "1234.50", "2024"):
        assert value not in line.partition("of aic")[2]


def test_values_are_shown_to_whoever_asks_for_them() -> None:
    _, line = lines(letter(record("c", None, ROW)), is_revealed=True)
    assert "citizen_id=440106198001011234" in line


def test_a_letter_that_nobody_can_read_says_so_by_its_size() -> None:
    broken = record("c", None, ROW)._replace(value=b"\x01 what stood \x1b[31m here")
    _, line = lines(letter(broken, subscriber="tax"))
    assert "cannot be read: bad_magic" in line
    assert "to tax" in line
    assert "what stood" not in line
    (told,) = lines(letter(broken), as_json=True)
    assert json.loads(told)["bytes"] == len(broken.value or b"")
    assert "what stood" not in told
