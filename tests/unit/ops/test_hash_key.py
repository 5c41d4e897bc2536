"""One key per subscriber: agreed once, the same everywhere, and nobody hashes with another or makes one by the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.settings import Connections
from ops.trust.hash_key import HashKeys, agree, fingerprint
from schemas.agreement.directory import Directory
from schemas.agreement.subscriber import Subscriber
from schemas.errors import Misconfigured


def keys_of(path: Path, agreed: str, subscriber: str = "a") -> HashKeys:
    entry = Subscriber(subscriber=subscriber, name="", sinks=(), hash_key_id=agreed)
    return HashKeys(Connections(path), lambda: Directory(subscribers={subscriber: entry}))


def test_of_all_who_ask_at_once_one_makes_the_key(tmp_path: Path) -> None:
    for number in range(20):
        name = f"s{number}"
        with ThreadPoolExecutor(8) as pool:
            agreed = {
                found for found in pool.map(lambda _, name=name: agree(Connections(tmp_path), name, ""), range(8))
            }
        assert len(agreed) == 1
    kept = list((tmp_path / "connections").iterdir())
    assert len(kept) == 20
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}


def test_a_missing_key_is_refused_and_never_made(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="hash key of a: is not here") as raised:
        keys_of(tmp_path, "")("a")
    assert "MESH_CONNECTION_A_HASH_KEY" in raised.value.fix
    agreed = agree(Connections(tmp_path / "here"), "a", "")
    with pytest.raises(Misconfigured):  # onboarding on another host makes no second one
        agree(Connections(tmp_path / "elsewhere"), "a", agreed)
    assert not (tmp_path / "elsewhere").exists()


def test_another_key_than_the_agreed_one_is_refused(tmp_path: Path) -> None:
    first, second = (agree(Connections(tmp_path / name), "a", "") for name in ("one", "two"))
    assert first != second
    assert fingerprint(keys_of(tmp_path / "one", first)("a")) == first
    with pytest.raises(Misconfigured, match="another one than was agreed"):
        keys_of(tmp_path / "two", first)("a")


def test_the_environment_gives_a_key_like_every_other_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_CONNECTION_A_HASH_KEY", "ab" * 32)
    agreed = agree(Connections(tmp_path), "a", "")
    assert keys_of(tmp_path, agreed)("a") == b"\xab" * 32
    assert not (tmp_path / "connections").exists()
    monkeypatch.setenv("MESH_CONNECTION_A_HASH_KEY", "ab")
    with pytest.raises(Misconfigured, match="is no key"):
        keys_of(tmp_path, agreed)("a")
