from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.lint.report import FeedStanding, Problem, Report, Severity, Standing
from ops.onboarding.onboard import inspect
from ops.onboarding.onboarded import Onboarded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "aic"
    folder.mkdir()
    agency = {"agency": "aic", "name": "局", "sources": [{"name": "main", "kind": "postgres", "connection": "${X}"}]}
    (folder / "agency.yaml").write_text(json.dumps(agency))
    fields = [{"name": "id", "type": "int", "doc": "号"}]
    record = {
        "type": "record",
        "name": "T",
        "doc": "表",
        "gov": {"key": ["id"], "class": "UNCONDITIONAL"},
        "fields": fields,
    }
    (folder / "t.avsc").write_text(json.dumps(record))
    return folder


def test_a_folder_is_inspected_without_a_mesh(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESH_REGISTRY", raising=False)
    report = inspect(folder, tmp_path / "no mesh")
    assert report.is_ok
    assert [(feed.feed, feed.standing) for feed in report.feeds] == [("aic.t", Standing.UNKNOWN)]
    assert not (tmp_path / "no mesh").exists()


def test_a_refused_folder_is_told_by_its_problems(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem(
        severity=Severity.ERROR, file="t.avsc", line=7, field="note", message="unknown type", fix="use string"
    )
    report = Report(folder="aic", problems=[problem])
    outcome = Onboarded(feeds=[], first_record_seconds={}, grants=[], notices=[], report=report)
    assert not outcome.is_ok
    assert outcome.to_json()["ok"] is False
    assert outcome.to_json()["check"]["problems"][0]["line"] == 7
    outcome.render()
    said = capsys.readouterr().out
    assert "t.avsc:7" in said
    assert "fix: use string" in said
    assert "onboarded" not in said


def test_an_onboarding_tells_how_soon_each_new_feed_was_live(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(folder="aic", feeds=[FeedStanding(feed="aic.t", standing=Standing.NEW)])
    outcome = Onboarded(
        feeds=["aic.t", "aic.u", "aic.old"],
        first_record_seconds={"aic.t": 1.25, "aic.u": None},
        grants=["tax.aic.t"],
        notices=["column [note] of aic.t: keep an eye on it"],
        report=report,
    )
    assert outcome.to_json()["feeds"] == {
        "aic.t": {"first_record_seconds": 1.25},
        "aic.u": {"first_record_seconds": None},
        "aic.old": {"first_record_seconds": None},
    }
    outcome.render()
    said = capsys.readouterr().out
    assert "1.2 s" in said
    assert "none yet" in said
    assert "[note]" in said, "a notice is text, never markup"
    assert "onboarded: 3 feeds, 1 grants" in said
