"""A source or a sink that is left out of its file while something runs through it is refused: it would end without a word."""

from __future__ import annotations

import json
from pathlib import Path

from ops.lint.check import check
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant
from schemas.contract import Contract
from tests.unit.ops.test_check import AGENCY, CONTRACT, SUBSCRIBER, changed, entry, write

OTHER_SINK = changed(
    changed(SUBSCRIBER, "- name: main", "- name: other"), "    columns:", "    sink: other\n    columns:"
)


def running(**gov: str) -> dict[str, FeedEntry]:
    raw = json.loads(CONTRACT)
    raw["gov"] |= gov
    return {"aic.enterprise": entry(Contract.parse(raw, "aic.enterprise"))}


def granted(grant_id: str, sink: str) -> dict[str, GrantEntry]:
    grant = Grant(
        grant_id=grant_id, subscriber="customs", feed="aic.enterprise", columns=("ent_id",), purpose="核验", sink=sink
    )
    return {grant_id: GrantEntry(grant=grant, key_schema_id=3, value_schema_id=4, version=1)}


def test_a_source_that_feeds_are_captured_from_is_not_left_out(tmp_path: Path) -> None:
    write(tmp_path, agency=changed(AGENCY, "- name: main", "- name: other"))
    (problem,) = [
        error for error in check(tmp_path, directory=Directory(feeds=running())).errors if "left out" in error.message
    ]
    assert "source aic.main is left out, and 1 feeds are captured from it, such as aic.enterprise" in problem.message
    assert "mesh offboard source aic.main --yes" in problem.fix


def test_a_sink_that_a_grant_is_delivered_to_is_not_left_out(tmp_path: Path) -> None:
    write(tmp_path, subscriber=OTHER_SINK)
    directory = Directory(feeds=running(), grants=granted("customs.aic.enterprise.2", "main"))
    (problem,) = check(tmp_path, directory=directory).errors
    assert "sink customs.main is left out, and grant customs.aic.enterprise.2 is delivered to it" in problem.message
    assert "mesh grant customs.aic.enterprise.2 REVOKED" in problem.fix


def test_a_grant_may_move_to_another_sink_with_the_file_that_says_so(tmp_path: Path) -> None:
    write(tmp_path, subscriber=OTHER_SINK)
    directory = Directory(feeds=running(), grants=granted("customs.aic.enterprise", "main"))
    assert check(tmp_path, directory=directory).errors == []
