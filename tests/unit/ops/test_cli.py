from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ops import cli
from schemas.errors import ContractBroken, MeshError, Misconfigured, Rejected, Transient


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MESH_DIR", "MESH_KAFKA", "MESH_REGISTRY", "MESH_DATABASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def our_own_signals() -> Iterator[None]:
    """`mesh run` takes the process's signals; this process is pytest's."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def mesh(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "command",
    [
        ("onboard", "."),
        ("status", "--once"),
        ("tail", "aic.t"),
        ("verify", "aic.t"),
        ("grant", "tax.aic.t", "REVOKED"),
        ("resync", "aic.main"),
        ("run", "capture"),
        ("run", "console"),
        ("run", "opendata"),
    ],
    ids=" ".join,
)
def test_without_a_mesh_every_command_says_so_in_one_text(command: tuple[str, ...], tmp_path: Path) -> None:
    ran = mesh(*command, "--dir", tmp_path)
    assert ran.exit_code == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith(f"mesh: {tmp_path}: no mesh runs here")
    assert f"fix: start one with `mesh up --dir {tmp_path}`" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_down_without_a_mesh_is_no_failure(tmp_path: Path) -> None:
    ran = mesh("down", "--dir", tmp_path)
    assert (ran.exit_code, ran.exception) == (0, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("onbord", "."), "No such command 'onbord'. Did you mean `onboard`"),
        (("xyzzy",), "No such command 'xyzzy'. `mesh -h` lists them."),
        (("status", "--jsn"), "No such option: --jsn"),
        (("run", "kafka"), "'kafka' is not one of"),
        (("grant", "tax.aic.t", "GONE"), "'GONE' is not one of"),
        (("check", "no/such/folder"), "does not exist"),
        (("tail",), "Missing argument 'FEED'"),
        (("run", "console", "--port", "70000"), "'--port'"),
        (("draft", "postgresql://h/d"), "Missing option '--agency'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_slip_of_the_pen_is_named_with_the_usage(arguments: tuple[str, ...], said: str) -> None:
    ran = mesh(*arguments)
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert "Usage: " in ran.stderr


def test_a_malformed_contract_is_shown_with_file_line_field_and_fix(tmp_path: Path) -> None:
    source = {"name": "main", "kind": "postgres", "connection": "${AIC}"}
    (tmp_path / "agency.yaml").write_text(json.dumps({"agency": "aic", "name": "局", "sources": [source]}))
    fields = [{"name": "id", "type": "int"}, {"name": "note", "type": "strnig"}]
    record = {"type": "record", "name": "T", "gov": {"key": ["id"]}, "fields": fields}
    (tmp_path / "t.avsc").write_text(json.dumps(record, indent=1))
    ran = mesh("check", tmp_path, "--dir", tmp_path / "none")
    assert ran.exit_code == 1
    line = next(number for number, text in enumerate(json.dumps(record, indent=1).split("\n"), 1) if "strnig" in text)
    assert f"t.avsc:{line}" in ran.stdout
    assert "note: unknown type" in ran.stdout
    assert "fix: use " in ran.stdout
    problem = json.loads(mesh("check", tmp_path, "--json", "--dir", tmp_path / "none").stdout)["problems"][0]
    assert (problem["file"], problem["line"], problem["field"]) == ("t.avsc", line, "note")


def test_a_draft_from_a_variable_that_is_not_set_names_it(tmp_path: Path) -> None:
    ran = mesh("draft", "${NO_SUCH_DSN}", "--agency", "aic", "--into", tmp_path / "aic")
    assert ran.exit_code == 1
    assert "${NO_SUCH_DSN} is not in the environment" in ran.stderr
    assert "fix: export NO_SUCH_DSN=" in ran.stderr
    assert not (tmp_path / "aic").exists()


@pytest.mark.parametrize(
    "error",
    [
        Transient("kafka: no answer", fix="start it"),
        Misconfigured("it", "is wrong", fix="start it"),
        ContractBroken("aic.t-value", "drops a column", fix="start it"),
        Rejected("numeric_nan", fix="start it"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_our_errors_are_a_text_and_a_fix(error: MeshError) -> None:
    ran = CliRunner().invoke(failing(error), ["fail"])
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr == f"mesh: {error}\n"
    assert ran.stderr.endswith("\n  fix: start it\n")


def test_what_nobody_foresaw_is_told_by_kind_and_place_and_with_its_text_only_on_demand() -> None:
    ran = CliRunner().invoke(failing(KeyError("a value")), ["fail"])
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert "KeyError at " in ran.stderr
    assert "a value" not in ran.stderr
    ran = CliRunner().invoke(failing(KeyError("a value")), ["fail"], env={"MESH_LOG_LEVEL": "DEBUG"})
    assert isinstance(ran.exception, KeyError)


def failing(error: Exception) -> click.Group:
    """A command line of the same kind with a command that raises."""

    @click.group(cls=type(cli.main))
    def group() -> None:
        pass

    @group.command()
    def fail() -> None:
        raise error

    return group
