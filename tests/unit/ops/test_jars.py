from pathlib import Path

import pytest
from jgo.constants import MAVEN_CENTRAL_URL

from ops.embedded.jars import cache_directory, read_lock, repositories
from ops.embedded.kafka import LOCK_FILE
from schemas.errors import Misconfigured


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("JGO_CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MESH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def settings(folder: Path, *mirrors: tuple[str, str]) -> Path:
    entries = "".join(f"<mirror><mirrorOf>{of}</mirrorOf><url>{url}</url></mirror>" for of, url in mirrors)
    file = folder / "settings.xml"
    file.write_text(f"<settings><mirrors>{entries}</mirrors></settings>")
    return file


def test_without_settings_central_is_asked(user: Path):
    assert repositories(user / "settings.xml") == [MAVEN_CENTRAL_URL]


@pytest.mark.parametrize("of", ["*", "central", "external:*", "other, central", "*,!other"])
def test_mirror_of_central_stands_in_for_it(user: Path, of: str):
    assert repositories(settings(user, ("other", "http://a"), (of, "http://b/"))) == ["http://b"]


@pytest.mark.parametrize("of", ["other", "*,!central"])
def test_mirror_of_something_else_does_not(user: Path, of: str):
    assert repositories(settings(user, (of, "http://a"))) == [MAVEN_CENTRAL_URL]


def test_repository_of_jgo_comes_first(user: Path):
    (user / ".jgorc").write_text("[repositories]\nours = http://ours/\n")
    assert repositories(user / "settings.xml") == ["http://ours", MAVEN_CENTRAL_URL]


def test_broken_settings_are_named(user: Path):
    (user / "settings.xml").write_text("<settings>")
    with pytest.raises(Misconfigured, match=r"settings\.xml: is not XML"):
        repositories(user / "settings.xml")


def test_cache_is_the_users_and_can_be_moved(user: Path, monkeypatch: pytest.MonkeyPatch):
    assert cache_directory() == user / ".cache" / "pearlmesh"
    monkeypatch.setenv("MESH_CACHE", "/elsewhere")
    assert cache_directory() == Path("/elsewhere")


def test_every_locked_jar_is_told_apart_by_its_path():
    jars = read_lock(LOCK_FILE)
    assert {"kafka_2.13-4.4.0.jar", "kafka-clients-4.4.0.jar"} <= {jar.file_name for jar in jars}
    assert len({jar.path for jar in jars}) == len(jars) == 45
    assert all(len(jar.sha256) == 64 and jar.size_bytes > 0 for jar in jars)
