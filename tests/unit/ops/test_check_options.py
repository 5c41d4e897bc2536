"""Every option of every kind of source and sink is typed, and `mesh check` refuses what the running mesh would."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

from ops.kinds.sinks import SINKS
from ops.kinds.sources import SOURCES
from ops.lint.check import check
from ops.lint.folder import load
from producers.postgresql.options import PostgresSourceOptions
from schemas.form import Unit, read

FORMS = [kind.options for kind in (*SOURCES.values(), *SINKS.values())]


def agency(folder: Path, options: str) -> Path:
    text = f"agency: aic\nname: 局\nsources:\n  - name: main\n    kind: postgres\n    connection: ${{X}}\n    options:\n{options}"
    (folder / "agency.yaml").write_text(text)
    contract = (
        '{"type": "record", "name": "T", "doc": "表", "gov": {"key": ["id"], "class": "UNCONDITIONAL"}, "fields": [%s]}'
    )
    (folder / "t.avsc").write_text(contract % '{"name": "id", "type": "int", "doc": "号"}')
    return folder


def subscriber(folder: Path, kind: str, options: str) -> Path:
    text = f"subscriber: customs\nname: 关\nsinks:\n  - name: main\n    kind: {kind}\n    connection: ${{X}}\n    options:\n{options}"
    (folder / "subscriber.yaml").write_text(text)
    return folder


def test_a_column_named_as_the_meshs_own_is_refused_on_its_line(tmp_path: Path) -> None:
    folder = agency(tmp_path, "      publication: p")
    contract = folder / "t.avsc"
    contract.write_text(
        contract.read_text().replace("}]}", '}, \n{"name": "_mesh_token", "type": ["null", "string"], "doc": "令牌"}]}')
    )
    (problem,) = [each for each in check(tmp_path).errors if each.field == "_mesh_token"]
    assert (problem.line, problem.message) == (2, "has a name that sinks keep for the mesh")
    assert "let the department rename it" in problem.fix


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.__module__}.{form.__name__}")
def test_a_quantity_says_its_unit_and_takes_one(form: type[Any]) -> None:
    hints = get_type_hints(form, include_extras=True)
    for entry in fields(form):
        text = str(hints[entry.name])
        has_unit = any(str(unit) in text for unit in Unit)
        assert has_unit == entry.name.endswith(("_seconds", "_bytes", "bytes_max")), entry.name


@pytest.mark.parametrize(
    ("line", "message", "fix"),
    [
        ("retained_warning_byte: 1GB", "there is no option of a source of kind postgres", "retained_warning_bytes?"),
        ('retained_warning_bytes: "4 elephants"', "is not a size", "4GB"),
        ("retained_warning_bytes: -1", "is not a size", "1 or more"),
        ("snapshot_processes: two", "is not a whole number", "from 1 to 64"),
        ("manage_identity: 1", "is not true or false", "true or false"),
    ],
)
def test_a_wrong_option_of_a_source_is_refused_on_its_line(tmp_path: Path, line: str, message: str, fix: str) -> None:
    report = check(
        agency(
            tmp_path, f"      manage_identity: true\n      {line}\n" if "manage" not in line else f"\n      {line}\n"
        )
    )
    [problem] = report.errors
    assert (problem.file, problem.line, problem.field) == ("agency.yaml", 9, "main")
    assert message in problem.message
    assert fix in problem.fix


@pytest.mark.parametrize(
    ("kind", "line", "message", "fix"),
    [
        ("files", "format: xlsx", "is not one of jsonl, csv, parquet", "one of jsonl, csv, parquet"),
        ("files", "format: parkett", "is not one of", "did you mean parquet?"),
        ("files", "every_second: 5s", "there is no option of a sink of kind files every_second", "every_seconds?"),
        ("files", "path: ../other.main", "is not the name of a secret", "the name of a secret"),
        ("postgres", "scheme: s", "there is no option", "did you mean schema?"),
        ("postgres", "tables: [a]", "is not an object", "names and values"),
        ("webhook", "timeout_seconds: soon", "is not a time", "30s"),
        ("webhook", "schedule_seconds: []", "is not a list of one or more", "a list"),
        ("webhook", "allow_cidrs: [10.0.0.0/8]", "allow_cidrs is not a subscriber's to say", "MESH_WEBHOOK_NETWORKS"),
        ("webhook", "url: https://a..b/", "url is not an address", "https://hub.example/in"),
        ("live", "listen: http://0.0.0.0:8470", "is not http://127.0.0.1:PORT", "https://ADDRESS:PORT"),
        ("live", "listen: https://hub.example:8443", "is not http://127.0.0.1:PORT", "numeric address"),
        ("live", "keep_seconds: 30d", "is not a time", "from 60 to 604800"),
        ("live", "batch_max: 0", "is not a whole number", "from 1 to 1000"),
        ("mesh", "anchor: abc", "is not a fingerprint", "64 digits"),
        ("mesh", "ancor: abc", "there is no option", "did you mean anchor?"),
    ],
)
def test_a_wrong_option_of_a_sink_is_refused_on_its_line(
    tmp_path: Path, kind: str, line: str, message: str, fix: str
) -> None:
    [problem] = [found for found in check(subscriber(tmp_path, kind, f"      {line}\n")).errors if found.line == 8]
    assert (problem.file, problem.field) == ("subscriber.yaml", "main")
    assert message in problem.message
    assert fix in problem.fix


def test_units_mean_at_run_time_what_check_let_pass(tmp_path: Path) -> None:
    folder = agency(tmp_path, "      retained_warning_bytes: 4GB\n      snapshot_processes: 2\n")
    assert check(folder).errors == []
    [source] = load(folder).agencies[0].agency.sources
    assert read(PostgresSourceOptions, source.options, "s") == PostgresSourceOptions(
        retained_warning_bytes=4 << 30, snapshot_processes=2
    )


def test_every_folder_of_the_example_city_has_options_that_are_read() -> None:
    city = Path(__file__).parents[3] / "schemas" / "guangzhou"
    for path in city.rglob("subscriber.yaml"):
        for sink in yaml.safe_load(path.read_text())["sinks"]:
            assert read(SINKS[sink["kind"]].options, sink.get("options") or {}, str(path))


def limited(folder: Path, kind: str, line: str) -> Path:
    sink = f"  - name: main\n    kind: {kind}\n    connection: ${{X}}\n    delivery:\n      {line}\n"
    text = f"subscriber: customs\nname: 关\nsinks:\n{sink}"
    (folder / "subscriber.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("line", "message", "fix"),
    [
        ("change_per_second: 5", "there is no", "changes_per_second?"),
        ("changes_per_second: -1", "is not a number", "0.1 or more"),
        ("quiet: 22:00-06:00pm", "is not two times", '"22:00-06:00"'),
        ("retry_dead_letters: {every_seconds: 5}", "has no reasons", "reasons: [sql_23514]"),
    ],
)
def test_a_wrong_limit_of_a_delivery_is_refused_on_its_line(tmp_path: Path, line: str, message: str, fix: str) -> None:
    [problem] = check(limited(tmp_path, "postgres", line)).errors
    assert (problem.file, problem.line) == ("subscriber.yaml", 8)
    assert message in problem.message
    assert fix in problem.fix


def test_a_limit_is_put_into_words_and_reaches_the_subscriber(tmp_path: Path) -> None:
    folder = limited(tmp_path, "postgres", 'quiet: "22:00-06:00"')
    report = check(folder)
    assert report.is_ok
    [told] = report.limits
    assert told.startswith("customs.main: nothing is delivered from 22:00-06:00 of Asia/Shanghai")
    [sink] = load(folder).subscribers[0].subscriber.sinks
    assert sink.delivery == {"quiet": "22:00-06:00"}


def test_a_limit_of_what_is_not_delivered_to_is_refused(tmp_path: Path) -> None:
    errors = check(limited(tmp_path, "mesh", "changes_per_second: 5")).errors
    assert any("reads its topics itself" in problem.message for problem in errors)
