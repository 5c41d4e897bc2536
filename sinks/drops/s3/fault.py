"""Faults: what an object store's answer means for the lane. Its own text stays out: it may quote keys.

| answer                                                        | means                        | becomes       |
|---------------------------------------------------------------|------------------------------|---------------|
| InvalidAccessKeyId, SignatureDoesNotMatch, expired or no token | the credentials              | Misconfigured |
| AccessDenied, or 403 without a code                            | the rights of the account    | Misconfigured |
| NoSuchBucket                                                   | the bucket                   | Misconfigured |
| another region, or a redirect                                  | the address                  | Misconfigured |
| RequestTimeTooSkewed                                           | this host's clock            | Misconfigured |
| a certificate that nobody vouches for                          | TLS                          | Misconfigured |
| a full store or a used-up quota, or 507                        | the store has no room        | Transient     |
| 429, 5xx, 408, no answer                                       | the store or the network     | Transient     |
| anything else                                                  | nobody knows                 | ContractBroken |
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    SSLError,
)

from schemas.errors import ContractBroken, MeshError, Misconfigured, Transient
from sinks.drops.s3.address import S3Address

_CREDENTIALS = frozenset(
    "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken TokenRefreshRequired InvalidSecurity "  # noqa: SIM905
    "AuthFailure NotSignedUp AccountProblem".split()
)
_RIGHTS = frozenset({"AccessDenied", "AllAccessDisabled", "Forbidden", "UnauthorizedAccess", "403"})
_REGION = frozenset(
    "PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301 307".split()  # noqa: SIM905
)
_ROOM = frozenset(
    "QuotaExceeded XMinioStorageFull XMinioAdminBucketQuotaExceeded BucketQuotaExceeded InsufficientCapacity "  # noqa: SIM905
    "InsufficientStorage StorageFull 507".split()
)
_PASSING = frozenset({"SlowDown", "RequestTimeout", "OperationAborted", "Throttling", "TooManyRequests"})


@contextmanager
def told(address: S3Address, what: str) -> Iterator[None]:
    """Turn what the store or the way to it raises into an error of ours. `what` names the file."""
    subject = f"drop {address}/{what}".rstrip("/")
    try:
        yield
    except ClientError as error:
        answer = error.response
        code = str(answer.get("Error", {}).get("Code", ""))
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise translate(code, status, subject, address) from None
    except SSLError:
        fix = "give the certificate of whoever signed the store's as option `tls_ca`, or correct the endpoint"
        raise Misconfigured(subject, "the store's certificate is not one that this host trusts", fix=fix) from None
    except (ConnectionError, HTTPClientError) as error:
        fix = "see whether the store runs and this host reaches its endpoint: it goes on by itself"
        raise Transient(f"{subject}: no answer ({type(error).__name__})", fix=fix) from None
    except BotoCoreError as error:
        fix = "correct the connection: s3://bucket/prefix?endpoint=https://host:port&region=name"
        raise Misconfigured(subject, f"cannot be asked for ({type(error).__name__})", fix=fix) from None


def translate(code: str, status: int, subject: str, address: S3Address) -> MeshError:  # noqa: PLR0911 -- a line per row of the table
    """The error for an answer: its code, and its HTTP status."""
    named = code if code.isascii() and code.isalnum() else str(status)
    if code in _CREDENTIALS:
        fix = "correct `access_key` and `secret_key` of the sink, and onboard its subscriber again"
        return Misconfigured(subject, f"the store refuses the login ({named})", fix=fix)
    if code == "NoSuchBucket":
        fix = f"make the bucket {address.bucket}, or correct the connection"
        return Misconfigured(subject, "the store has no such bucket", fix=fix)
    if code in _REGION or 300 <= status < 400:
        fix = "write the bucket's own `endpoint=` and `region=` into the connection, or set the option `addressing`"
        return Misconfigured(subject, f"the bucket is elsewhere ({named})", fix=fix)
    if code == "RequestTimeTooSkewed":
        return Misconfigured(subject, "this host's clock is not the store's", fix="set the clock of this host")
    if code in _ROOM or status == 507:
        return Transient(f"{subject}: the store has no room ({named})", fix="make room: it goes on by itself")
    if code in _RIGHTS or status in {401, 403}:
        fix = (
            f"let the account list the bucket {address.bucket}, and read and write below {address}: s3:ListBucket, "
            "s3:GetObject and s3:PutObject; a bucket that is not there may be answered so too"
        )
        return Misconfigured(subject, f"the account lacks a right ({named})", fix=fix)
    if code in _PASSING or status in {408, 429} or status >= 500:
        fix = "see whether the store is well: it goes on by itself"
        return Transient(f"{subject}: the store is unwell ({named})", fix=fix)
    fix = "see in the store's log why; delivery tries again by itself"
    return ContractBroken(subject, f"the store refuses a request ({named})", fix=fix)
