"""What `mesh subscription test` finds at each kind of target, and what it leaves behind there: nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.kinds.sinks import SINKS
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured
from sinks.http.ping import TEST_TYPE
from sinks.kind import Checked
from sinks.sink import SinkSetup
from tests.stage.webhooks import LOOPBACK, SECRET, Endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def tried(kind: str, secrets: dict[str, str], **options: Any) -> list[Checked]:
    def address_of(_owner: str, name: str) -> str:
        if name not in secrets:
            raise Misconfigured(name, "is not kept", fix="give it")
        return secrets[name]

    sink = SinkConfig(name="main", kind=kind, options=options)
    setup = SinkSetup(subscriber="customs", sink=sink, address_of=address_of, networks=LOOPBACK)
    return list(SINKS[kind].probed(setup, []))


def test_a_webhook_gets_one_signed_event_that_says_it_is_a_test(endpoint: Endpoint) -> None:
    checks = tried("webhook", {"main": endpoint.url, "main.signing_key": SECRET})
    assert all(check.is_ok for check in checks)
    [(message_id, body)] = endpoint.sent  # its signature was verified by the receiver's own library
    assert message_id.startswith("test_")
    assert body["type"] == TEST_TYPE
    assert (body["subscriber"], body["sink"]) == ("customs", "main")
    assert "feed" not in body
    assert "op" not in body


@pytest.mark.parametrize(("status", "words"), [(422, "mesh.test"), (404, "rights"), (503, "")])
def test_a_receiver_that_refuses_the_test_is_told_with_what_to_do(endpoint: Endpoint, status: int, words: str) -> None:
    endpoint.answer = lambda _body: status
    failed = [
        check for check in tried("webhook", {"main": endpoint.url, "main.signing_key": SECRET}) if not check.is_ok
    ]
    [check] = failed
    assert str(status) in check.detail
    assert words in check.fix
    assert check.fix
    assert len(endpoint.came) == 1, "it is called once"


def test_a_webhook_without_its_key_is_told_before_anybody_is_called(endpoint: Endpoint) -> None:
    [check] = tried("webhook", {"main": endpoint.url})
    assert not check.is_ok
    assert check.fix == "give it"
    assert endpoint.came == []


def test_a_directory_gets_a_probe_that_is_removed(tmp_path: Path) -> None:
    [check] = tried("files", {"main": str(tmp_path)})
    assert (check.is_ok, check.what) == (True, "a probe was written and removed")
    assert list(tmp_path.iterdir()) == []
    [missing] = tried("files", {"main": str(tmp_path / "gone")})
    assert not missing.is_ok
    assert "make the directory" in missing.fix


def test_a_database_that_does_not_answer_is_told(tmp_path: Path) -> None:
    [check] = tried("postgres", {"main": f"host={tmp_path} user=nobody dbname=none"})
    assert not check.is_ok
    assert check.detail
