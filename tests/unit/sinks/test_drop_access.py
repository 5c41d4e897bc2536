"""Who may read a drop: this user alone, or whom the sink's options say, from the moment that a file is whole."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured
from sinks.drops.files import build_files
from sinks.drops.sink import DropSink
from sinks.drops.trial import try_files
from sinks.sink import SinkSetup
from tests.stage.delivering import OutFeed, decimal


def setup_of(directory: Path, feed: OutFeed, **options: Any) -> SinkSetup:
    return SinkSetup(
        subscriber=feed.subscriber,
        sink=SinkConfig(name="main", kind="files", options=options),
        address_of=lambda _owner, _name: str(directory),
        schema_of=feed.schemas.__getitem__,
    )


def dropped(directory: Path, **options: Any) -> dict[str, tuple[int, int]]:
    """Mode and group of each file and folder after a drop."""
    feed = OutFeed("bank", "aic.t")
    setup = setup_of(directory, feed, **options)
    try_files(setup)
    sink = build_files(setup)
    assert isinstance(sink, DropSink)
    before = os.umask(0o077)
    try:
        sink.write([feed.batch(feed.record("c", {"id": 1, "name": "甲", "amount": decimal("1.00")}))])
    finally:
        os.umask(before)
        sink.close()
    found = {str(path.relative_to(directory)): path.stat() for path in directory.rglob("*")}
    return {name: (stat.S_IMODE(told.st_mode), told.st_gid) for name, told in found.items()}


@pytest.mark.parametrize(
    ("options", "file_mode", "folder_mode"),
    [
        ({}, 0o600, 0o700),
        ({"readable_by": "group"}, 0o640, 0o750),
        ({"readable_by": "everyone"}, 0o644, 0o755),
    ],
)
def test_a_drop_is_private_unless_the_options_say_otherwise(
    tmp_path: Path, options: dict[str, Any], file_mode: int, folder_mode: int
) -> None:
    found = dropped(tmp_path, **options)
    files = {name: mode for name, (mode, _) in found.items() if name.startswith("aic.t/")}
    assert len(files) == 2
    assert set(files.values()) == {file_mode}
    assert found["aic.t"][0] == folder_mode
    own = {mode for name, (mode, _) in found.items() if name.startswith(".mesh")}
    assert own == {0o600, 0o700}, "how far a drop is concerns nobody else"


def test_a_drop_goes_to_the_group_that_is_named_and_a_folder_there_already_too(tmp_path: Path) -> None:
    ours = grp.getgrall() if os.geteuid() == 0 else [grp.getgrgid(number) for number in os.getgroups()]
    group = ours[-1]
    dropped(tmp_path)
    found = dropped(tmp_path, readable_by="group", group=group.gr_name)
    assert {number for name, (_, number) in found.items() if name.startswith("aic.t")} == {group.gr_gid}
    assert found["aic.t"][0] == 0o750


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"readable_by": "group", "group": "no-such-group"}, "there is no such group"),
        ({"group": "root"}, "may read nothing"),
        ({"readable_by": "all"}, "is not one of owner, group, everyone"),
    ],
)
def test_what_cannot_be_is_refused_when_onboarding_tries_it(
    tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(Misconfigured, match=problem):
        try_files(setup_of(tmp_path, OutFeed("bank", "aic.t"), **options))
