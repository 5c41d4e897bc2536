"""Addresses and options of drops that go elsewhere: what they may be, and that no text quotes a secret."""

from __future__ import annotations

import subprocess
import sys

import pytest

from schemas.errors import Misconfigured
from schemas.form import examine
from sinks.drops.s3.address import S3Address, s3_address
from sinks.drops.s3.options import S3Options
from sinks.drops.sftp.address import SftpAddress, sftp_address
from sinks.drops.sftp.options import SftpOptions

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHPYC2AiFIU24DF+trFvwVUKIsBI9DazRp3SyrmO19Y4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://drops", S3Address(bucket="drops", prefix="", endpoint=None, region="us-east-1")),
        (
            "s3://drops/a/%E7%94%B2/?endpoint=https://s3.gz.example:9000/&region=cn-south-1",
            S3Address(bucket="drops", prefix="a/甲/", endpoint="https://s3.gz.example:9000", region="cn-south-1"),
        ),
    ],
)
def test_an_address_of_a_bucket_is_read(text: str, expected: S3Address) -> None:
    assert s3_address(text, "sink") == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https://drops/sesame", "is no address of a bucket"),
        ("s3://AKID:sesame@drops/x", "contains a login"),
        ("s3://Drops_/sesame", "names no bucket"),
        ("s3://drops/x?key=sesame", "more than an endpoint and a region"),
        ("s3://drops/x?endpoint=https://a&endpoint=https://sesame", "more than an endpoint and a region"),
        ("s3://drops/x?sesame", "cannot be read"),
        ("s3://drops/a//sesame", "empty part"),
        ("s3://drops/a/../sesame", "'.' or '..'"),
        ("s3://drops/x?region=sesame$", "a region that can be none"),
        ("s3://drops/x?endpoint=sesame", "no endpoint of the form"),
        ("s3://drops/x?endpoint=https://a:sesame", "no endpoint of the form"),
        ("s3://drops/x?endpoint=https://u:sesame@a", "more than a host and a port"),
        ("s3://drops/x?endpoint=https://a/sesame", "more than a host and a port"),
        ("s3://drops/x?endpoint=http://sesame", "without TLS"),
    ],
)
def test_what_is_no_address_of_a_bucket_says_why_and_quotes_nothing(text: str, problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem) as refused:
        s3_address(text, "sink")
    assert "sesame" not in str(refused.value)


def test_rows_travel_unencrypted_only_where_the_options_say_so() -> None:
    assert s3_address("s3://drops?endpoint=http://a:1", "sink", allow_http=True).endpoint == "http://a:1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sftp://u@h/d", SftpAddress(user="u", host="h", port=22, directory="/d")),
        ("sftp://u%40x@[::1]:2022/a/%E7%94%B2/", SftpAddress(user="u@x", host="::1", port=2022, directory="/a/甲")),
    ],
)
def test_an_address_of_a_server_is_read(text: str, expected: SftpAddress) -> None:
    assert sftp_address(text, "sink") == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ssh://u@h/sesame", "is no address of an SFTP server"),
        ("sftp://u@h:sesame/d", "cannot be read"),
        ("sftp://u:sesame@h/d", "contains a password"),
        ("sftp://h/sesame", "names no user"),
        ("sftp://u@h/d?sesame=1", "something behind"),
        ("sftp://u@h", "names no directory"),
        ("sftp://u@h/", "names no directory"),
        ("sftp://u@h/a/../sesame", "'.' or '..'"),
    ],
)
def test_what_is_no_address_of_a_server_says_why_and_quotes_nothing(text: str, problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem) as refused:
        sftp_address(text, "sink")
    assert "sesame" not in str(refused.value)


def test_a_server_is_known_by_its_key_or_not_spoken_to() -> None:
    _, faults = examine(SftpOptions, {}, "option")
    assert ["whoever answered in the server's place" in fault.message for fault in faults] == [True]
    for wrong in ("", "SHA256:abc", "host.example ssh-ed25519 AAAA", 7):
        assert examine(SftpOptions, {"host_key": wrong}, "option")[1], wrong
    assert examine(SftpOptions, {"host_key": f"{ED25519} a comment\n{ED25519}"}, "option")[1] == []


def test_a_file_of_a_bucket_is_one_request_so_it_has_a_bound() -> None:
    assert examine(S3Options, {"bytes_max": "2GB"}, "option")[1]
    assert examine(S3Options, {"bytes_max": "1GB"}, "option")[1] == []


def test_commands_that_drop_nothing_load_no_library_of_a_store_or_server() -> None:
    script = (
        "import sys, ops.cli, ops.kinds.sinks; "
        "print([name for name in ('botocore', 'asyncssh', 'pyarrow') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
