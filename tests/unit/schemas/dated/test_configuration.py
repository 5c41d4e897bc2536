from __future__ import annotations

from pathlib import Path

import pytest

from schemas.dated.configuration import dated, day_of, midnight
from schemas.errors import Misconfigured
from tests.stage.rehearsal import days, micros


def write(folder: Path, text: str, name: str = "packs.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_pack_of_the_event_date_decides(tmp_path: Path) -> None:
    packs = dated(
        write(
            tmp_path,
            "- {valid_from: 2016-01-01, valid_to: 2025-08-01, days: 10}\n- {valid_from: 2025-08-01, days: 7}\n",
        )
    )
    assert packs.at(micros("2016-01-01"))["days"] == 10
    assert packs.at(micros("2025-08-01") - 1)["days"] == 10
    assert packs.at(micros("2025-08-01"))["days"] == 7
    assert packs.find(micros("2015-12-31")) is None
    with pytest.raises(Misconfigured, match="2015-12-31"):
        packs.at(micros("2015-12-31"))


def test_a_table_has_one_entry_in_force_for_each_key(tmp_path: Path) -> None:
    text = "item,agency,valid_from,valid_to\nF1,fda,,2014-02-12\nF1,health,2014-02-12,\nF2,fda,2011-07-01,\n"
    owners = dated(write(tmp_path, text, "owners.csv"), key=["item"])
    assert owners.at(micros("2014-02-11"), "F1") == {"item": "F1", "agency": "fda"}
    assert owners.at(micros("2014-02-12"), "F1")["agency"] == "health"
    assert owners.find(micros("2014-02-12"), "F3") is None
    assert [row["item"] for row in owners.all_at(micros("2016-01-01"))] == ["F2", "F1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- {valid_from: 2016-01-01, a: 1}\n- {valid_from: 2017-01-01, a: 2}\n", "valid at once"),
        ("- {valid_from: 2016-01-01, valid_to: 2016-01-01}\n", "ends before it begins"),
        ("- {valid_from: tomorrow}\n", "neither a date"),
        ("- {valid_from: 2016-01-01 10:00:00}\n", "neither a date"),
        ("a: [\n", "not YAML"),
        ("a: 1\n", "not a list"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_with_its_fix(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem) as caught:
        dated(write(tmp_path, text))
    assert caught.value.fix


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        dated(tmp_path / "none.yaml")


def test_days_are_those_of_shanghai() -> None:
    assert midnight(days("2016-10-31")) == micros("2016-10-31") == micros("2016-10-31T00:00:00+08:00")
    assert day_of(micros("2016-10-31") - 1).isoformat() == "2016-10-30"
    assert day_of(micros("2016-10-31")).isoformat() == "2016-10-31"
