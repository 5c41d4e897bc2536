from __future__ import annotations

from pathlib import Path

import pytest

from schemas.dated.calendar import (
    Calendar,
    add_working_days,
    city_calendar,
    day_at,
    day_number,
    deadline,
    is_working_day,
)
from schemas.dated.configuration import midnight
from schemas.errors import Misconfigured
from tests.stage.rehearsal import micros


def test_a_make_up_saturday_is_worked_and_a_holiday_monday_is_not() -> None:
    assert is_working_day(day_number("2016-10-08"))  # Saturday, 调休
    assert is_working_day(day_number("2016-10-09"))  # Sunday, 调休
    assert not is_working_day(day_number("2016-10-03"))  # Monday, 国庆节
    assert not is_working_day(day_number("2016-10-15"))
    assert is_working_day(day_number("2016-10-31"))


def test_working_days_step_over_holidays_and_count_make_up_days() -> None:
    friday = day_number("2016-09-30")
    assert add_working_days(friday, 1) == day_number("2016-10-08")
    assert add_working_days(friday, 3) == day_number("2016-10-10")
    assert add_working_days(day_number("2016-10-01"), 0) == day_number("2016-10-08")
    assert add_working_days(friday, 0) == friday


def test_a_year_not_announced_has_its_weekdays() -> None:
    assert add_working_days(day_number("2050-01-03"), 5) == day_number("2050-01-10")


def test_a_deadline_is_the_end_of_its_day_in_beijing() -> None:
    filed = micros("2016-09-30T23:30:00+08:00")
    assert day_at(filed) == day_number("2016-09-30")
    assert deadline(filed, 1) == midnight(day_number("2016-10-09")) == micros("2016-10-09T00:00:00+08:00")


def test_every_make_up_day_of_the_city_is_a_weekend() -> None:
    for day, is_worked in city_calendar().exceptions.items():
        assert not is_worked or (day + 3) % 7 >= 5


@pytest.mark.parametrize(
    "line", ["2016-13-01,2016-10-01,HOLIDAY,x", "2016-10-02,2016-10-01,HOLIDAY,x", "2016-10-02,2016-10-02,FEAST,x"]
)
def test_a_broken_calendar_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "days.csv"
    path.write_text(f"first,last,kind,name\n{line}\n")
    with pytest.raises(Misconfigured, match=r"days\.csv:2"):
        Calendar.read(path)
