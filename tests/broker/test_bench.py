"""The bench itself, small and without peers: it measures what it says, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from ops.bench.figure import Figures
from ops.bench.run import measure
from ops.bench.scale import Scale


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the bench puts its servers."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_capture_sources_egress_and_merge_are_measured_and_nothing_is_left(temporary: Path) -> None:
    figures = Figures()
    console = Console(file=io.StringIO(), width=200)
    scale = Scale(
        runs=1,
        has_peers=False,
        patience_seconds=0,
        warm_up_records=0,
        changes=6_000,
        told_rows=3_000,
        further_grants=(2,),
    )

    failed = measure(figures, scale, ["capture", "mariadb", "polled", "files", "egress", "stateful"], console)

    assert not failed
    medians = figures.medians()
    rates = {"capture_vs_limit", "mysql_changes_per_second", "polled_rows_per_second", "files_rows_per_second"}
    assert medians.keys() == {"egress_extra_grant", *rates}
    assert min(medians[rate] for rate in rates) > 0
    assert not list(temporary.iterdir())
    assert not children_in(temporary)


def test_flows_are_measured_by_a_recording_and_by_how_many_subjects_there_are(temporary: Path) -> None:
    figures, told = Figures(), io.StringIO()
    scale = Scale(
        runs=1,
        has_peers=False,
        patience_seconds=0,
        warm_up_records=0,
        town=1 / 50_000,
        living=200,
        subjects=(200, 4_000),
    )

    failed = measure(figures, scale, ["flows", "growth"], Console(file=told, width=200))

    assert not failed
    medians = figures.medians()
    assert medians.pop("flows_growth") > 0
    assert 300 < medians.pop("flows_state_bytes") < 1_000, "a row, and the row as it was published"
    assert all(medians.values())
    assert medians.keys() == {
        *("flows_changes_per_second", "flows_cpu_per_change_us", "flows_memory_mib", "flows_restored_per_second")
    }
    assert "4,000 subjects" in told.getvalue()
    assert not list(temporary.iterdir())
    assert not children_in(temporary)


def children_in(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in command and int(process.name) != os.getpid():
            found.append(command)
    return found
