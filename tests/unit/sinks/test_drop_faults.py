"""What stores and servers answer, and what the lane makes of it: wait, or ask a person, with a way out that names what to do."""

from __future__ import annotations

import asyncssh
import pytest

from schemas.errors import ContractBroken, MeshError, Misconfigured, Transient
from sinks.drops.s3.address import S3Address
from sinks.drops.s3.fault import translate as of_a_store
from sinks.drops.sftp.address import SftpAddress
from sinks.drops.sftp.fault import translate as of_a_server

BUCKET = S3Address(bucket="drops", prefix="a/", endpoint=None, region="us-east-1")
SERVER = SftpAddress(user="u", host="h", port=2022, directory="/d")


@pytest.mark.parametrize(
    ("code", "status", "kind", "problem"),
    [
        ("InvalidAccessKeyId", 403, Misconfigured, "refuses the login"),
        ("SignatureDoesNotMatch", 403, Misconfigured, "refuses the login"),
        ("ExpiredToken", 400, Misconfigured, "refuses the login"),
        ("AccessDenied", 403, Misconfigured, "lacks a right"),
        ("403", 403, Misconfigured, "lacks a right"),
        ("NoSuchBucket", 404, Misconfigured, "no such bucket"),
        ("PermanentRedirect", 301, Misconfigured, "elsewhere"),
        ("AuthorizationHeaderMalformed", 400, Misconfigured, "elsewhere"),
        ("RequestTimeTooSkewed", 403, Misconfigured, "clock"),
        ("XMinioStorageFull", 507, Transient, "no room"),
        ("QuotaExceeded", 403, Transient, "no room"),
        ("InsufficientStorage", 507, Transient, "no room"),
        ("SlowDown", 503, Transient, "unwell"),
        ("InternalError", 500, Transient, "unwell"),
        ("429", 429, Transient, "unwell"),
        ("EntityTooLarge", 400, ContractBroken, "refuses a request"),
        ("甲 of a row", 400, ContractBroken, r"refuses a request \(400\)"),
    ],
)
def test_an_answer_of_a_store_becomes_what_is_done_next(
    code: str, status: int, kind: type[MeshError], problem: str
) -> None:
    error = of_a_store(code, status, "drop s3://drops/a/x", BUCKET)
    assert type(error) is kind
    with pytest.raises(kind, match=problem):
        raise error
    assert error.fix
    assert "甲" not in str(error)


@pytest.mark.parametrize(
    ("raised", "kind", "problem"),
    [
        (asyncssh.PermissionDenied("甲"), Misconfigured, "refuses the login"),
        (asyncssh.HostKeyNotVerifiable("甲"), Misconfigured, "host key"),
        (asyncssh.KeyExchangeFailed("甲"), Misconfigured, "host key"),
        (asyncssh.SFTPNoSuchFile("甲"), Misconfigured, "not there"),
        (asyncssh.SFTPPermissionDenied("甲"), Misconfigured, "lacks a right"),
        (asyncssh.SFTPFailure("Permission denied: 甲"), Misconfigured, "lacks a right"),
        (asyncssh.SFTPOpUnsupported("甲"), Misconfigured, "cannot do what a drop needs"),
        (asyncssh.SFTPNoSpaceOnFilesystem("甲"), Transient, "no room"),
        (asyncssh.SFTPQuotaExceeded("甲"), Transient, "no room"),
        (asyncssh.SFTPFailure("No space left on device: 甲"), Transient, "no room"),
        (asyncssh.SFTPFailure("甲"), Transient, "fails"),
        (asyncssh.ConnectionLost("甲"), Transient, "no answer"),
        (ConnectionRefusedError("甲"), Transient, "no answer"),
        (TimeoutError("甲"), Transient, "no answer"),
    ],
)
def test_what_a_server_does_becomes_what_is_done_next(raised: Exception, kind: type[MeshError], problem: str) -> None:
    error = of_a_server(raised, "drop sftp://h/d/x", SERVER)
    assert type(error) is kind
    with pytest.raises(kind, match=problem):
        raise error
    assert error.fix
    assert "甲" not in str(error)
