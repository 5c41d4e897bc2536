"""What people leave out, misspell or take for something else is told on its line; what would hang a reader is refused at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ops.kinds.sinks import SINKS
from ops.lint.check import check
from ops.lint.folder import load
from ops.lint.folder_form import SinkForm
from ops.lint.located import Unreadable, read_json, read_yaml
from schemas.errors import Misconfigured
from schemas.form import names_of
from tests.unit.ops.test_check import AGENCY, CONTRACT, SUBSCRIBER, changed, write

PURPOSE = "    purpose: 报关单位核验\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "message", "fix"),
    [
        ("customs", PURPOSE, "", 8, "has no purpose: a grant is for one purpose", "add `purpose:`"),
        ("customs", PURPOSE, "    purpos: 核验\n", 10, "there is no field of a grant purpos", "did you mean purpose?"),
        (
            "customs",
            PURPOSE,
            PURPOSE + "    legal_base: x\n",
            11,
            "no field of a grant legal_base",
            "did you mean legal_basis?",
        ),
        (
            "customs",
            PURPOSE,
            PURPOSE + "    valid_form: 2026-01-01\n",
            11,
            "no field of a grant valid_form",
            "valid_from?",
        ),
        ("customs", PURPOSE, "    purpose: 7\n", 10, "purpose is not a text", "write a text"),
        ("customs", PURPOSE, "    purpose:\n", 10, "purpose is not a text", "write a text"),
        ("customs", PURPOSE, PURPOSE + "    status: ACTIV\n", 11, "status is not one of", "ACTIVE"),
        ("customs", PURPOSE, PURPOSE + "    mask: {name: BLUR}\n", 11, "mask.name is not one of FULL", "one of FULL"),
        ("customs", PURPOSE, PURPOSE + "    valid_to: true\n", 11, "valid_to is not a date", "2026-01-01"),
        (
            "customs",
            "subscriber: customs",
            "subscribe: customs",
            1,
            "no field of a subscriber subscribe",
            "subscriber?",
        ),
        ("customs", "name: 广州海关", "name: [海关]", 2, "name is not a text", "write a text"),
        (
            "customs",
            "    kind: postgres\n",
            "    kinds: postgres\n",
            5,
            "no field of a subscriber kinds",
            "did you mean kind?",
        ),
        ("aic", "    kind: postgres\n", "", 4, "has no kind", "such as postgres"),
        ("aic", "sources:", "source:", 3, "no field of an agency source", "did you mean sources?"),
        ("aic", "name: 工商行政管理局", "name: 局\ncontact: {a: b}", 3, "contact is not a text", "write a text"),
        (
            "avsc",
            '"key": ["ent_id"]',
            '"key": ["ent_id"], "clas": "NOT_SHARED"',
            2,
            "gov.clas says nothing",
            "did you mean class?",
        ),
        (
            "avsc",
            '"gov": {"unit": "万元"',
            '"gov": {"basiss": "x", "unit": "万元"',
            8,
            "gov.basiss says nothing",
            "did you mean basis?",
        ),
    ],
)
def test_each_field_that_is_missing_misspelt_or_of_another_type_is_told_on_its_line(
    tmp_path: Path, file: str, old: str, new: str, line: int, message: str, fix: str
) -> None:
    texts = {"customs": SUBSCRIBER, "aic": AGENCY, "avsc": CONTRACT}
    texts[file] = changed(texts[file], old, new)
    report = check(write(tmp_path, agency=texts["aic"], contract=texts["avsc"], subscriber=texts["customs"]))
    [problem] = [found for found in report.errors if message in found.message and found.line == line]
    assert fix in problem.fix
    assert "__init__" not in str(report.problems)


def test_a_grant_without_purpose_is_no_error_of_ours_where_it_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"grant of aic\.enterprise to customs: has no purpose"):
        load(write(tmp_path, subscriber=changed(SUBSCRIBER, PURPOSE, "")))


def test_what_is_shared_on_conditions_is_granted_with_a_legal_basis_or_not_at_all(tmp_path: Path) -> None:
    subscriber = changed(SUBSCRIBER, "[ent_id, name]", "[ent_id, legal_rep_id]")
    [problem] = check(write(tmp_path, subscriber=subscriber)).errors
    assert "no legal basis for legal_rep_id (CONDITIONAL" in problem.message
    (tmp_path / "customs" / "subscriber.yaml").write_text(
        changed(subscriber, PURPOSE, PURPOSE + "    legal_basis: 示例依据\n")
    )
    assert check(tmp_path).errors == []


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (LAUGHS, 6),
        ("agency: &a [*a]\n", 1),
        ("agency: x\nname: " + "[" * 5_000 + "]" * 5_000, 2),
        ("x: " + "y" * 9_000_000, 1),
    ],
    ids=["aliases", "itself", "depth", "size"],
)
def test_yaml_that_would_hang_a_reader_is_refused_at_once_with_its_place(tmp_path: Path, text: str, line: int) -> None:
    started = time.monotonic()
    with pytest.raises(Unreadable) as raised:
        read_yaml(text)
    assert raised.value.line == line
    report = check(write(tmp_path, agency=text))
    assert [problem.line for problem in report.errors if problem.file == "aic/agency.yaml"] == [line]
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "text", ["[" * 50_000, '{"a": ' * 50_000 + "1" + "}" * 50_000, '{"a": "[[[[", "b": ' + "[" * 200]
)
def test_json_that_is_nested_without_end_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(Unreadable, match="deeper"):
        read_json(text)


def test_aliases_that_name_a_few_parts_are_taken() -> None:
    assert read_yaml("a: &x {b: 1}\nc: *x\n").value == {"a": {"b": 1}, "c": {"b": 1}}
    assert read_json('{"a": "[[[["}').value == {"a": "[[[["}


def test_the_form_of_a_sink_knows_the_secrets_of_every_kind() -> None:
    assert {secret.name for kind in SINKS.values() for secret in kind.secrets} <= set(names_of(SinkForm))
