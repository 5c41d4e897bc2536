from __future__ import annotations

from pathlib import Path

from ops.lint.check import check
from ops.soak.memory import Memory, judge
from ops.soak.soak import Soaked
from ops.soak.tables import Tables

MB = 1 << 20


def test_memory_that_grows_by_the_hour_is_told_from_memory_that_swings() -> None:
    steady = [(float(at), 300 * MB + (at % 7) * MB) for at in range(100)]
    growing = [(float(at), 300 * MB + at * MB) for at in range(100)]
    stepped = [(float(at), (300 if at < 40 else 400) * MB + (at % 7) * MB) for at in range(100)]
    assert judge(steady)["is_flat"]
    assert judge(stepped)["is_flat"], "a backlog took it once"
    assert not judge(growing)["is_flat"]
    assert judge(growing, is_judged=False)["is_flat"]
    assert judge(growing[:3])["is_flat"], "three samples tell nothing"


def test_memory_is_read_of_processes_that_live(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "self.json").write_text('{"pid": "self"}')
    (run / "gone.json").write_text('{"pid": null}')
    memory = Memory(tmp_path)
    for at in range(30):
        memory.sample(float(at))
    figures = memory.figures()
    assert set(figures) == {"self"}
    assert figures["self"]["first_bytes"] > MB


def test_what_is_not_as_it_should_be_is_named() -> None:
    fine = Soaked(
        hours=1,
        seed=1,
        rate=300,
        committed=1,
        unequal={},
        compared=49,
        memory={"flows": {"is_flat": True}},
        slots={"mesh_aic_main": 1000},
        left=(),
        troubles=(),
        restarts={},
    )
    assert fine.complaints == []
    assert fine.to_json()["is_ok"]
    bad = {
        "unequal": {"a.b.c": {"missing": 1}},
        "slots": {"s": 1 << 30},
        "left": ("sink a.main: parked",),
        "compared": 0,
    }
    values = {name: getattr(fine, name) for name in fine.__dataclass_fields__}
    assert len(Soaked(**{**values, **bad, "memory": {"flows": {"is_flat": False}}}).complaints) == 5


def test_the_soak_s_own_folder_passes_the_check(tmp_path: Path) -> None:
    folder = Tables("postgresql://h/s", "postgresql://h/t", 1).folder(tmp_path / "soak")
    assert not check(folder).errors
