"""Addresses of sources and of sinks lie apart; what earlier versions kept in one place is sorted, or read by neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.former_connections import settle
from ops.lint.check import check
from ops.settings import Connections
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory
from schemas.agreement.subscriber import SinkConfig, Subscriber
from schemas.errors import Misconfigured

MAIN = (SourceConfig(name="main", kind="postgres"),)
DIRECTORY = Directory(
    agencies={code: Agency(agency=code, name=code, sources=MAIN) for code in ("aic", "both")},
    subscribers={
        "both": Subscriber(subscriber="both", name="both", sinks=(SinkConfig(name="main", kind="postgres"),)),
        "boc": Subscriber(
            subscriber="boc",
            name="boc",
            sinks=(
                SinkConfig(name="notify", kind="webhook", options={"secret": "notify.secret"}),
                SinkConfig(name="other", kind="webhook"),
            ),
        ),
    },
)


def test_a_source_and_a_sink_of_one_name_have_an_address_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Connections(tmp_path)
    connections.sources.save("both", "main", "postgresql://source")
    connections.sinks.save("both", "main", "postgresql://sink")
    assert connections.sources.address_of("both", "main") == "postgresql://source"
    assert connections.sinks.address_of("both", "main") == "postgresql://sink"
    monkeypatch.setenv("MESH_CONNECTION_SINK_BOTH_MAIN", "postgresql://environment")
    assert connections.sources.address_of("both", "main") == "postgresql://source"
    assert connections.sinks.address_of("both", "main") == "postgresql://environment"
    for path in (tmp_path / "connections").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_what_earlier_versions_kept_goes_to_its_side_and_what_may_be_either_s_to_none(tmp_path: Path) -> None:
    former = Connections(tmp_path)
    kept = ["aic.main", "both.main", "boc.notify", "boc.notify.secret", "boc.other_secret", "boc.hash-key", "boc.kafka"]
    for name in kept:
        former.save(*name.split(".", 1), name)
    former.save("mesh", "identity-key", "own")
    for _ in range(2):
        assert settle(tmp_path, DIRECTORY) == ["both.main"]
    assert former.sources.address_of("aic", "main") == "aic.main"
    for name in ("notify", "notify.secret", "other_secret"):
        assert former.sinks.address_of("boc", name) == f"boc.{name}"
    assert former.address_of("mesh", "identity-key") == "own"
    assert former.address_of("boc", "kafka") == "boc.kafka"
    assert former.address_of("boc", "hash-key") == "boc.hash-key"
    for side in (former.sources, former.sinks):
        with pytest.raises(Misconfigured, match="may be the other's") as raised:
            side.address_of("both", "main")
        assert "onboard again" in raised.value.fix
    former.sinks.save("both", "main", "anew")
    assert former.sinks.address_of("both", "main") == "anew"


def test_a_former_variable_is_read_by_neither_side_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_CONNECTION_AIC_MAIN", "postgresql://old")
    with pytest.raises(Misconfigured, match="MESH_CONNECTION_AIC_MAIN is set") as raised:
        Connections(tmp_path).sources.address_of("aic", "main")
    assert raised.value.fix == "rename MESH_CONNECTION_AIC_MAIN to MESH_CONNECTION_SOURCE_AIC_MAIN"


def test_codes_that_would_make_one_slot_and_one_variable_are_refused(tmp_path: Path) -> None:
    for code, source in (("a_b", "c"), ("a", "b_c")):
        folder = tmp_path / code
        folder.mkdir()
        text = f"agency: {code}\nname: 局\nsources:\n  - {{name: {source}, kind: postgres, connection: '${{X}}'}}\n"
        (folder / "agency.yaml").write_text(text)
    [problem] = [problem for problem in check(tmp_path).errors if "one slot" in problem.message]
    assert (problem.file, problem.line) == ("a_b/agency.yaml", 4)
    assert "a.b_c" in problem.message
