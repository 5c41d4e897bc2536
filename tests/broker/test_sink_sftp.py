"""Drops on an SFTP server: whom we speak to, who is refused and told why, and a server that is away for a while."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import asyncssh
import pytest

from ops.kinds.sinks import SINKS
from schemas.errors import Misconfigured, Transient
from tests.stage.cut_link import cut_link
from tests.stage.delivering import OutFeed
from tests.stage.receivers import Receiver, ServerFiles, server
from tests.stage.tried_drop import person, refused_both_ways, tried
from tests.stage.weed import PASSWORD, Weed


@pytest.fixture
def feed(unique: str) -> OutFeed:
    return OutFeed(unique, "police.person")


@pytest.fixture
def receiver(weed: Weed, unique: str) -> Receiver:
    return server(weed, unique)


def by_password(receiver: Receiver, password: str) -> Receiver:
    return replace(receiver, secrets={"main": receiver.secrets["main"], "main.password": password})


refused = partial(refused_both_ways, unsaid=(PASSWORD, "wrong-word"))


def test_a_key_and_a_password_let_us_in(receiver: Receiver, feed: OutFeed) -> None:
    tried(receiver, feed)
    tried(by_password(receiver, PASSWORD), feed)
    assert receiver.files.names() == [".mesh/trial.json"]


def test_a_wrong_login_is_told_from_all_else(receiver: Receiver, feed: OutFeed) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    wrong_key = replace(receiver, secrets={**receiver.secrets, "main.private_key": stranger})
    for wrong in (by_password(receiver, "wrong-word"), wrong_key):
        error = refused(wrong, feed, Misconfigured)
        assert "refuses the login" in error.problem
        assert "`password` or `private_key`" in error.fix
    neither = replace(receiver, secrets={"main": receiver.secrets["main"]})
    assert "neither a private key nor a password" in refused(neither, feed, Misconfigured).problem


def test_another_server_than_the_one_that_was_named_is_given_nothing(
    receiver: Receiver, feed: OutFeed, weed: Weed
) -> None:
    for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256"):
        other = asyncssh.generate_private_key(kind).export_public_key().decode().strip()
        error = refused(by_password(receiver, PASSWORD), feed, Misconfigured, host_key=other)
        assert "host key" in error.problem
        assert f"ssh-keyscan -p {weed.sftp_port} 127.0.0.1" in error.fix
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    tried(receiver, feed, host_key=f"{other}\n{weed.host_key}")  # while a server's key is being replaced
    assert receiver.files.names() == [".mesh/trial.json"]


def test_a_directory_that_is_not_there_is_told_with_its_name(receiver: Receiver, feed: OutFeed) -> None:
    secrets = {**receiver.secrets, "main": f"{receiver.secrets['main']}-nowhere"}
    error = refused(replace(receiver, secrets=secrets), feed, Misconfigured)
    assert "its directory is not there" in error.problem
    assert f"make the directory /{feed.subscriber}-nowhere" in error.fix


def test_a_right_that_the_account_lacks_is_told(receiver: Receiver, feed: OutFeed, weed: Weed) -> None:
    ServerFiles(weed, f"/{feed.subscriber}", "keeper").make()
    secrets = {**receiver.secrets, "main": receiver.secrets["main"].replace("drops@", "reader@")}
    error = refused(replace(receiver, secrets=secrets), feed, Misconfigured)
    assert "lacks a right" in error.problem
    assert f"in /{feed.subscriber}" in error.fix


def test_a_server_that_does_not_answer_is_waited_for(receiver: Receiver, feed: OutFeed) -> None:
    secrets = {**receiver.secrets, "main": f"sftp://drops@127.0.0.1:1/{feed.subscriber}"}
    assert "no answer" in refused(replace(receiver, secrets=secrets), feed, Transient).problem


def test_a_server_that_is_cut_off_in_the_middle_of_a_file_gets_all_of_it_later(
    receiver: Receiver, feed: OutFeed, weed: Weed
) -> None:
    with cut_link(weed.sftp_port) as link:
        address = receiver.secrets["main"].replace(str(weed.sftp_port), str(link.port))
        far = replace(receiver, secrets={**receiver.secrets, "main": address})
        sink = far.sink(SINKS, feed)
        sink.write([feed.batch(person(feed, 0))])
        batch = feed.batch(*(person(feed, number) for number in range(1, 4_000)))
        link.cut_after(100_000)
        with pytest.raises(Transient):
            sink.write([batch])
        assert link.is_cut
        assert len(receiver.lines()) == 1
        with pytest.raises(Transient):
            sink.write([batch])
        link.mend()
        sink.write([batch])
        sink.close()
    assert [line["id"] for line in receiver.lines()] == list(range(4_000))
    afresh = receiver.sink(SINKS, feed)
    assert afresh.start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): 4_000}
    afresh.close()
    assert [name for name in receiver.drops() if name.endswith(".draft")] == [], "what was half there is gone"
