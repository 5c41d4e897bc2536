"""A webhook's address and signing keys, from the subscriber's folder to the sink that signs."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.lint.check import check
from ops.lint.folder import load
from ops.onboarding.given_address import GivenAddresses, save_secrets
from ops.settings import Connections
from schemas.errors import Misconfigured
from sinks.http.webhook import build_webhook, signing_keys, try_webhook
from sinks.sink import SinkSetup

OLD, NEW = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
HEAD = "subscriber: customs\nname: 关\nsinks:\n  - name: notify\n    kind: webhook\n"


def folder_of(folder: Path, *lines: str) -> Path:
    (folder / "subscriber.yaml").write_text(HEAD + "".join(f"    {line}\n" for line in lines))
    return folder


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        (["connection: ${U}"], 4, "has no signing key"),
        (["connection: ${U}", f"signing_key: {OLD}"], 7, "its signing key stands in the file"),
        (["connection: https://a..b/", "signing_key: ${K}"], 6, "empty or overlong part"),
        (["connection: https://u:p@a.example/", "signing_key: ${K}"], 6, "contains a login"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_refused_on_its_line(
    tmp_path: Path, lines: list[str], line: int, message: str
) -> None:
    found = [problem for problem in check(folder_of(tmp_path, *lines)).errors if message in problem.message]
    assert [problem.line for problem in found] == [line]
    assert OLD not in str(found)


def test_a_webhook_with_its_key_in_the_environment_is_fine(tmp_path: Path) -> None:
    folder_of(tmp_path, "connection: ${U}", "signing_key: ${K}", "previous_signing_key: ${P}")
    assert check(tmp_path).errors == []


def test_onboarding_keeps_the_keys_where_the_sink_reads_them_and_forgets_the_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Connections(tmp_path / "mesh").sinks
    monkeypatch.setenv("U", "https://hub.example/in")

    def onboard(*lines: str) -> SinkSetup:
        content = load(folder_of(tmp_path, "connection: ${U}", *lines))
        (folder,), given = content.subscribers, GivenAddresses(kept, content)
        (sink,) = folder.subscriber.sinks
        setup = SinkSetup(subscriber="customs", sink=sink, address_of=given, schema_of={}.__getitem__)
        try_webhook(setup)
        kept.save("customs", "notify", given("customs", "notify"))
        save_secrets(kept, sink, folder, given)
        return SinkSetup(subscriber="customs", sink=sink, address_of=kept.address_of, schema_of={}.__getitem__)

    def keys(setup: SinkSetup) -> list[str]:
        sink = build_webhook(setup)
        sink.close()
        names = {signing_keys(OLD, "")[0]: "old", signing_keys(NEW, "")[0]: "new"}
        return [names[key] for key in sink.receiver.keys]

    monkeypatch.setenv("K", OLD)
    assert keys(onboard("signing_key: ${K}")) == ["old"]
    monkeypatch.setenv("K", NEW)
    monkeypatch.setenv("P", OLD)
    assert keys(onboard("signing_key: ${K}", "previous_signing_key: ${P}")) == ["new", "old"]
    assert keys(onboard("signing_key: ${K}")) == ["new"]
    assert sorted(path.name for path in (tmp_path / "mesh").rglob("customs.*")) == [
        "customs.notify",
        "customs.notify.signing_key",
    ]


def test_a_bad_address_or_key_is_refused_when_onboarding_tries_it(tmp_path: Path) -> None:
    (sink,) = load(folder_of(tmp_path, "connection: ${U}", "signing_key: ${K}")).subscribers[0].subscriber.sinks
    for address, key, place in (
        ("https://a..b/", OLD, "connection"),
        ("https://hub.example/", "whsec_", "signing_key"),
    ):
        secrets = {"notify": address, "notify.signing_key": key}

        def address_of(_: str, name: str, given: Mapping[str, str] = secrets) -> str:
            if name not in given:
                raise Misconfigured(name, "there is no such secret", fix="give it")
            return given[name]

        setup = SinkSetup(
            subscriber="customs",
            sink=sink,
            address_of=address_of,
            schema_of={}.__getitem__,
        )
        with pytest.raises(Misconfigured, match=f"sink customs.notify, {place}"):
            try_webhook(setup)
