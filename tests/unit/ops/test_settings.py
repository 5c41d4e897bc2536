from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.settings import Connections, endpoints, load, load_as_command
from schemas.errors import Misconfigured

FILE = {"kafka": "k:1", "registry": "http://r:1", "hub_database": "postgresql://u:geheim@h/hub", "kafka_sasl": "k:2"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MESH_KAFKA", "MESH_REGISTRY", "MESH_DATABASE", "MESH_KAFKA_SASL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "endpoints.json").write_text(json.dumps(FILE))
    return tmp_path


def test_the_environment_wins_over_the_file_value_by_value(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_KAFKA", "mine:9")
    settings = load(directory)
    assert (settings.kafka.bootstrap, settings.registry, settings.kafka_sasl) == ("mine:9", "http://r:1", "k:2")


def test_a_hop_that_is_run_by_itself_enters_as_itself(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"": "mine:9", "_USER": "mesh", "_PASSWORD": "p", "_USER_CAPTURE": "c", "_PASSWORD_CAPTURE": "q"}
    for name, value in given.items():
        monkeypatch.setenv(f"MESH_KAFKA{name}", value)
    assert (load(directory, "capture").kafka.user, load(directory).kafka.user) == ("c", "mesh")


def test_what_a_hop_does_for_a_person_is_entered_as_the_commands_enter(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"": "k:1", "_USER": "mesh-console", "_PASSWORD": "p"}.items():
        monkeypatch.setenv(f"MESH_KAFKA{name}", value)
    assert load_as_command(directory).kafka.user == "mesh-console", "where nothing else is written down"
    login = {"MESH_KAFKA": "k:1", "MESH_KAFKA_USER": "mesh", "MESH_KAFKA_PASSWORD": "geheim"}
    (directory / "endpoints.json").write_text(json.dumps({**FILE, "kafka_login": login}))
    assert (load_as_command(directory).kafka.user, load(directory).kafka.user) == ("mesh", "mesh-console")


def test_no_mesh_says_where_it_looked_and_how_to_start_one(tmp_path: Path) -> None:
    assert endpoints(tmp_path) == {}
    with pytest.raises(Misconfigured) as raised:
        load(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert f"mesh up --dir {tmp_path}" in raised.value.fix
    assert "MESH_KAFKA" in raised.value.fix


def test_a_missing_single_address_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_KAFKA", "mine:9")
    with pytest.raises(Misconfigured, match="no registry") as raised:
        load(tmp_path)
    assert "MESH_REGISTRY" in raised.value.fix


def test_a_torn_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text('{"kafka": ')
    with pytest.raises(Misconfigured, match="is no JSON") as raised:
        load(tmp_path)
    assert "mesh down" in raised.value.fix


def test_secrets_are_not_in_the_repr(directory: Path) -> None:
    assert "geheim" not in repr(load(directory))


def test_an_address_is_kept_for_this_user_alone_and_replaced_whole(tmp_path: Path) -> None:
    connections = Connections(tmp_path)
    connections.save("aic", "main", "postgresql://one")
    connections.save("aic", "main", "postgresql://two")
    assert connections.address_of("aic", "main") == "postgresql://two"
    kept = list((tmp_path / "connections").iterdir())
    assert [path.name for path in kept] == ["aic.main"]
    assert kept[0].stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "connections").stat().st_mode & 0o777 == 0o700


def test_the_environment_gives_an_address_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_CONNECTION_SOURCE_AIC_HALL_2", "postgresql://env")
    assert Connections(tmp_path).sources.address_of("aic", "hall-2") == "postgresql://env"


def test_an_unknown_address_names_the_variable_that_would_give_it(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"aic\.main: has no address") as raised:
        Connections(tmp_path).address_of("aic", "main")
    assert "MESH_CONNECTION_AIC_MAIN" in raised.value.fix
