"""What is learned of a start is learned once, and a start without it is only slower."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.embedded.aot import aot_cache
from schemas.errors import Transient


@pytest.fixture
def lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MESH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "kafka.lock"
    file.write_text("org.apache.kafka:kafka:1 00 1\n")
    return file


def trained(_directory: Path, cache: Path) -> None:
    cache.write_bytes(b"learned")


def never(_directory: Path, _cache: Path) -> None:
    raise AssertionError("it was learned already")


def test_it_is_learned_once(lock_file: Path) -> None:
    cache = aot_cache(lock_file, trained)
    assert cache.read_bytes() == b"learned"
    assert aot_cache(lock_file, never) == cache


def test_other_jars_are_learned_anew_and_what_was_learned_of_the_old_ones_goes(lock_file: Path) -> None:
    old = aot_cache(lock_file, trained)
    lock_file.write_text("org.apache.kafka:kafka:2 00 1\n")
    assert aot_cache(lock_file, trained) != old
    assert [file.name for file in old.parent.glob("*.aot")] == [aot_cache(lock_file, never).name]


def test_a_run_that_fails_is_told_and_tried_again_by_the_next(
    lock_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(_directory: Path, cache: Path) -> None:
        cache.write_bytes(b"half")
        raise Transient("kafka did not answer in time", fix="look at its log")

    assert not aot_cache(lock_file, failing).exists()
    assert "Kafka will start slowly: kafka did not answer in time" in caplog.text
    assert aot_cache(lock_file, trained).read_bytes() == b"learned"
