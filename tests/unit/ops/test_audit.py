"""What a line of the audit is, which chains are whole, and what never comes into a line. Tampering: tests/broker/test_audit.py."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from ops.audit.chain import GENESIS, Head, canonical, digest, line_of, linked
from ops.audit.refused import name_of, reason_of
from ops.audit.verify import Verified, verify
from ops.trust.audit import audit
from schemas.errors import Misconfigured

ROOT = Path(__file__).parents[3]
WRITE_BOTH = {
    "ops/redelivery/dlq.py": "records on `out` topics, with a line before them and one behind",
    "ops/trust/identity.py": "a topic that meshes of an earlier version read, likewise",
}
"""Who also writes what is in no transaction, and what."""


def chain(*writers: tuple[int, list[str]]) -> tuple[list[bytes], Head]:
    """Lines as writers wrote them: of each, how many loose lines stand before it that it takes up, and what it did."""
    lines: list[bytes] = []
    head = Head()
    for number, (loose_count, acts) in enumerate(writers):
        loose = [{"what": f"loose {number}.{each}"} for each in range(loose_count)]
        lines += [canonical(each) for each in loose]
        hashes = [digest(each) for each in loose]
        for what in acts:
            line, head = linked({"what": what}, head, number, hashes)
            hashes = []
            lines.append(canonical(line))
    return lines, head


def found(lines: list[bytes], **heads: Head) -> Verified:
    return verify(enumerate(lines, start=1), **heads)


def kinds(verified: Verified) -> list[str]:
    return [fault.kind for fault in verified.faults]


def test_a_chain_of_several_writers_with_lines_of_before_is_intact() -> None:
    lines, head = chain((3, ["a", "b"]), (0, ["c"]), (2, ["d"]))
    verified = found(lines)
    assert (verified.faults, verified.lines, verified.before, verified.waiting) == ([], 4, 5, 0)
    assert verified.head == head
    assert json.loads(lines[3])["previous"] == GENESIS
    assert found([]).is_intact


def test_a_line_that_came_while_another_was_written_is_taken_up_by_the_next() -> None:
    lines, _ = chain((0, ["a"]), (1, ["b"]))
    overtaken = [lines[1], lines[0], lines[2]]  # before `a`, whose writer had read already
    assert found(overtaken).is_intact
    assert found(lines[1::-1]).waiting == 1, "and until then it waits"
    assert kinds(found([lines[1], *chain((0, ["a"]), (0, ["b"]))[0]])) == ["inserted"], (
        "whoever came after must have seen it"
    )


def test_a_forged_end_is_another_chain_for_whoever_noted_a_head() -> None:
    lines, head = chain((0, ["a", "b", "c"]))
    forged, other = chain((0, ["a", "b", "x"]))
    assert found(forged).is_intact
    assert kinds(found(forged, noted=head)) == ["truncated"]
    assert kinds(found(lines, running=other)) == ["truncated"]
    assert found(lines, noted=Head(2, json.loads(lines[1])["hash"]), running=head).is_intact


def test_a_line_is_read_back_as_it_was_hashed() -> None:
    for value in ("穗A·张", "\udc80", 'a"b', "\u2028", 10**30, None, {"b": 1, "a": [True]}):
        line, _ = linked({"value": value}, Head(), 0)
        assert canonical(json.loads(canonical(line))) == canonical(line)
        assert digest(line_of(canonical(line))) == line["hash"]
    assert set(line_of(b"no json")) == set(line_of(b"[1]")) == set(line_of(None)) == {"unreadable"}


def test_a_head_is_read_as_it_is_printed() -> None:
    head = Head(4711, "ab" * 32)
    assert Head.parse(str(head)) == head
    assert Head.parse(f" {head.hash.upper()}\n").hash == head.hash
    for wrong in ("4711", "x:" + head.hash, head.hash[1:], ""):
        with pytest.raises(Misconfigured):
            Head.parse(wrong)


def test_what_the_chain_says_of_a_line_is_no_detail_of_it() -> None:
    taken: list[Any] = []
    line = audit(lambda *record: taken.append(record), "grant status", "customs.aic.enterprise", status="ACTIVE")
    assert (line["what"], line["subject"], line["status"], len(taken)) == (
        "grant status",
        "customs.aic.enterprise",
        "ACTIVE",
        1,
    )
    with pytest.raises(TypeError):
        audit(lambda *_: None, "x", "y", previous="z")


def test_no_number_or_name_of_a_person_comes_in_by_what_was_typed() -> None:
    assert name_of("customs.aic.enterprise") == "customs.aic.enterprise"
    assert name_of([("feed", "aic.t"), ("feed", "aic.u")]) == "feed aic.t, feed aic.u"
    assert "440103198001011234" not in name_of("dlq 440103198001011234")
    assert "11010519491231002X" not in name_of("11010519491231002X")
    assert name_of(b"-----BEGIN PUBLIC KEY-----") == ""
    assert name_of("a'; DROP TABLE t") == "(no name)"
    assert reason_of(Misconfigured("grant x", "does not exist", fix="look")) == "does not exist"


def test_whoever_writes_the_audit_writes_what_it_did_with_it() -> None:
    """`audit` is given the `append` of an AuditedLog: with another one an act could stand without its line."""
    wrong: list[str] = []
    for path in sorted((ROOT / "ops").rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        if "audit" in names and "Log" in names and path.relative_to(ROOT).as_posix() not in WRITE_BOTH:
            wrong.append(str(path.relative_to(ROOT)))
    assert not wrong, f"open an ops.audit.audited_log.AuditedLog in the place of the Log: {wrong}"
