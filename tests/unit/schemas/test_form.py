"""What people may write is read by one form, at check and at run time: typed, with units, and refused with what may stand there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from schemas.errors import Misconfigured
from schemas.form import Between, Bytes, Seconds, Written, examine, needed, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    name: str = needed("rows are found by it")
    tables: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    is_on: bool = False
    kept_bytes: Annotated[Bytes, Between(1)] = 100
    wait_seconds: Annotated[Seconds, Between(0, 60)] = 1.0
    format: Literal["jsonl", "csv"] = "jsonl"
    schedule_seconds: Annotated[tuple[Seconds, ...], Between(1)] = (1.0,)
    count: Annotated[int, Between(1, 9)] | None = None
    hexadecimal: Annotated[int, Written(lambda value: int(value, 16), "a number in hexadecimal")] = 0
    inner: tuple[Inner, ...] = ()


def fault(**given: Any) -> tuple[tuple[str | int, ...], str, str]:
    [found] = examine(Sample, given, "option of a sample")[1]
    return found.path, found.message, found.fix


@pytest.mark.parametrize(
    ("given", "bytes_"),
    [(7, 7), ("7", 7), ("4GB", 4 << 30), ("1.5 kB", 1536), ("2 MiB", 2 << 20), (7.0, 7)],
)
def test_a_size_is_a_number_or_has_a_unit(given: object, bytes_: int) -> None:
    assert read(Sample, {"kept_bytes": given}, "s").kept_bytes == bytes_


@pytest.mark.parametrize(("given", "seconds"), [(3, 3.0), (0.5, 0.5), ("500ms", 0.5), ("30s", 30.0), ("1 min", 60.0)])
def test_a_time_is_a_number_or_has_a_unit(given: object, seconds: float) -> None:
    assert read(Sample, {"wait_seconds": given}, "s").wait_seconds == seconds


@pytest.mark.parametrize(
    "given",
    [
        {"kept_bytes": "4 potatoes"},
        {"kept_bytes": 0},
        {"kept_bytes": 1.5},
        {"kept_bytes": True},
        {"kept_bytes": None},
        {"wait_seconds": "2h"},
        {"wait_seconds": float("nan")},
        {"wait_seconds": "30sec"},
        {"is_on": "yes"},
        {"is_on": 1},
        {"format": "xlsx"},
        {"format": ["csv"]},
        {"schedule_seconds": []},
        {"schedule_seconds": "1s"},
        {"schedule_seconds": ["soon"]},
        {"count": 10},
        {"count": "2"},
        {"hexadecimal": "no"},
        {"hexadecimal": {}},
        {"inner": [{"name": "a", "tables": {"b": 1}}]},
        {"inner": ["a"]},
        {1: 2},
    ],
)
def test_what_cannot_be_read_is_one_fault_and_no_crash(given: Mapping[Any, Any]) -> None:
    value, faults = examine(Sample, given, "option")
    assert value is None
    assert len(faults) == 1
    with pytest.raises(Misconfigured) as raised:
        read(Sample, given, "sink x.main")
    assert raised.value.fix == faults[0].fix


def test_a_fault_names_its_place_what_may_stand_there_and_the_nearest_name() -> None:
    text = "kept_bytes is not a size such as 512MB or 4GB, or a whole number of bytes, 1 or more"
    assert fault(kept_bytes="x")[:2] == (("kept_bytes",), text)
    assert fault(kept_byte=1) == (
        ("kept_byte",),
        "there is no option of a sample kept_byte",
        "did you mean kept_bytes?",
    )
    assert "did you mean jsonl?" in fault(format="josnl")[2]
    assert fault(schedule_seconds=[1, "x"])[0] == ("schedule_seconds", 1)
    assert fault(inner=[{}]) == (("inner", 0), "has no name: rows are found by it", "add `name:`, a text")


def test_no_text_of_a_fault_holds_what_was_written() -> None:
    secret = "hunter2"
    for given in ({"kept_bytes": secret}, {"format": secret}, {"hexadecimal": secret}, {"is_on": secret}):
        assert secret not in str(examine(Sample, given, "option")[1])


def test_what_is_good_is_read_with_its_defaults() -> None:
    value = read(Sample, {"inner": [{"name": "a"}], "schedule_seconds": [1, "2s"], "count": None}, "s")
    assert value == Sample(inner=(Inner(name="a"),), schedule_seconds=(1.0, 2.0))
