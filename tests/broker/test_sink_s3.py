"""Drops in a bucket: who is refused and told why, TLS, and a store that is away for a while."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import pytest

from ops.kinds.sinks import SINKS
from schemas.errors import Misconfigured, Transient
from tests.stage.cut_link import cut_link
from tests.stage.delivering import OutFeed
from tests.stage.receivers import Receiver, bucket
from tests.stage.tried_drop import person, refused_both_ways, tried
from tests.stage.weed import FOREIGN_BUCKET, SECRET_KEY, Weed


@pytest.fixture
def feed(unique: str) -> OutFeed:
    return OutFeed(unique, "police.person")


@pytest.fixture
def receiver(weed: Weed, unique: str) -> Receiver:
    return bucket(weed, unique)


def with_secrets(receiver: Receiver, **secrets: str) -> Receiver:
    return replace(
        receiver, secrets={**receiver.secrets, **{name.replace("__", "."): text for name, text in secrets.items()}}
    )


refused = partial(refused_both_ways, unsaid=("sesame", SECRET_KEY, "AKIDUNKNOWN"))


def test_a_trial_leaves_nothing_where_files_of_feeds_go(receiver: Receiver, feed: OutFeed) -> None:
    for _ in range(2):
        tried(receiver, feed)
    assert receiver.files.names() == [".mesh/trial.json"]


@pytest.mark.parametrize(("access_key", "secret_key"), [("drops", "sesame"), ("AKIDUNKNOWN", "sesame")])
def test_a_wrong_login_is_told_from_all_else(
    receiver: Receiver, feed: OutFeed, access_key: str, secret_key: str
) -> None:
    error = refused(
        with_secrets(receiver, main__access_key=access_key, main__secret_key=secret_key), feed, Misconfigured
    )
    assert "refuses the login" in error.problem
    assert "`access_key` and `secret_key`" in error.fix
    tried(receiver, feed)  # to the letter of the fix


def test_a_bucket_that_is_not_there_is_told_with_its_name(weed: Weed, receiver: Receiver, feed: OutFeed) -> None:
    address = receiver.secrets["main"].replace("s3://drops/", f"s3://none-{feed.subscriber}/")
    admin = {"main__access_key": "admin", "main__secret_key": "admin-of-the-store"}
    error = refused(with_secrets(receiver, main=address, **admin), feed, Misconfigured)
    assert "no such bucket" in error.problem
    assert f"make the bucket none-{feed.subscriber}" in error.fix


@pytest.mark.parametrize("lacking", ["write", "bucket"])
def test_a_right_that_the_account_lacks_is_told(receiver: Receiver, feed: OutFeed, lacking: str) -> None:
    if lacking == "write":
        without = with_secrets(receiver, main__access_key="reader")
    else:
        without = with_secrets(receiver, main=receiver.secrets["main"].replace("//drops/", f"//{FOREIGN_BUCKET}/"))
    error = refused(without, feed, Misconfigured)
    assert "lacks a right" in error.problem
    assert "s3:PutObject" in error.fix


def test_a_store_that_does_not_answer_is_waited_for(receiver: Receiver, feed: OutFeed) -> None:
    address = f"s3://drops/{feed.subscriber}?endpoint=http://127.0.0.1:1"
    assert "no answer" in refused(with_secrets(receiver, main=address), feed, Transient).problem


def test_tls_is_the_rule_and_the_stores_certificate_is_checked(weed: Weed, receiver: Receiver, feed: OutFeed) -> None:
    with pytest.raises(Misconfigured, match="without TLS"):
        tried(receiver, feed, allow_http=False)
    secured = with_secrets(receiver, main=receiver.secrets["main"].replace(weed.s3, weed.s3_tls))
    error = refused(secured, feed, Misconfigured, allow_http=False)
    assert "certificate is not one that this host trusts" in error.problem
    assert "option `tls_ca`" in error.fix
    tried(secured, feed, allow_http=False, tls_ca=weed.tls_ca)  # to the letter of the fix


def test_nothing_of_the_users_own_configuration_counts(
    receiver: Receiver, feed: OutFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "of-somebody-else")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDUNKNOWN")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_REGION", "nowhere-1")
    tried(receiver, feed)
    assert receiver.files.names() == [".mesh/trial.json"]


def test_a_store_that_is_cut_off_in_the_middle_of_a_file_gets_all_of_it_later(
    weed: Weed, receiver: Receiver, feed: OutFeed
) -> None:
    port = urlsplit(weed.s3).port
    assert port
    with cut_link(port) as link:
        far = with_secrets(receiver, main=receiver.secrets["main"].replace(weed.s3, f"http://127.0.0.1:{link.port}"))
        sink = far.sink(SINKS, feed)
        sink.write([feed.batch(person(feed, 0))])
        batch = feed.batch(*(person(feed, number) for number in range(1, 4_000)))
        link.cut_after(100_000)
        with pytest.raises(Transient):
            sink.write([batch])
        assert link.is_cut
        assert len(receiver.lines()) == 1
        assert len(receiver.drops()) == 2, "nothing is half there"
        link.mend()
        sink.write([batch])
        sink.close()
    assert [line["id"] for line in receiver.lines()] == list(range(4_000))


def test_more_manifests_than_a_page_of_a_listing_are_all_seen(receiver: Receiver, feed: OutFeed) -> None:
    sink = receiver.sink(SINKS, feed)
    place = sink._place
    names = [f"police.person.p0.{number:020d}.jsonl" for number in range(5)]
    for name in names:
        place.write("police.person", name, lambda file: file.write(b"{}\n"))
    place._client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 2}
    )
    assert place.names("police.person", "police.person.p0.") == names
    assert place.names("police.person", "police.person.p0.", names[1][:-6]) == names[1:]
    sink.close()
