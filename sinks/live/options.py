"""What may stand under `options` of a sink of kind `live`."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from schemas.form import Between, Seconds, Written
from sinks.sink import SecretName

TOKEN = "token"  # noqa: S105 -- its name
PREVIOUS_TOKEN = "previous_token"  # noqa: S105 -- its name
TOKEN_FORM = "32 or more random characters of A-Z, a-z, 0-9 and -._~+/"  # noqa: S105 -- what one looks like
CERTIFICATE_KEY = "certificate_key"
DAY_SECONDS = 24 * 3600.0
_BEGIN = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where a feed is served. Without TLS it is an address of this host alone."""

    host: str
    port: int
    uses_tls: bool = False


def listen_address(value: Any) -> ListenAddress:
    """Read one. Raises ValueError, also for an address that others reach and that has no TLS."""
    url = urlsplit(value if isinstance(value, str) else "")
    host = ip_address(url.hostname or "")
    is_bare = url.path in {"", "/"} and not (url.query or url.fragment or url.username)
    if url.scheme not in {"http", "https"} or not url.port or not is_bare:
        raise ValueError
    if url.scheme == "http" and not host.is_loopback:
        raise ValueError
    return ListenAddress(host=str(host), port=url.port, uses_tls=url.scheme == "https")


def _certificates(value: Any) -> str:
    if not isinstance(value, str) or _BEGIN not in value:
        raise ValueError
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """All of them optional.

    `listen`: where the feed is served. `certificate`: what it shows of itself by https; its key is the secret `certificate_key`.
    `secret`: the name of a kept token, instead of `token`. `keep_seconds`: how old a position may be that a stream resumes from;
    topics keep every change for a week. `streams_max`: streams at a time.

    Of changes that are taken and acknowledged: `batch_max` in an answer; `visibility_seconds`, after which what is not
    acknowledged is there to be taken again; `leases_max`, so many may be out at a time; `deliveries_max`, after which one that is
    never acknowledged, while others are, is a dead letter. `requests_max`: requests a second, of all kinds.
    """

    listen: Annotated[
        ListenAddress,
        Written(
            listen_address,
            "http://127.0.0.1:PORT for this host alone, or https://ADDRESS:PORT for others, by a numeric address",
        ),
    ] = ListenAddress(host="127.0.0.1", port=8470)
    certificate: Annotated[str, Written(_certificates, f"certificates as PEM, which begin with {_BEGIN}")] = ""
    secret: SecretName = ""
    keep_seconds: Annotated[Seconds, Between(60, 7 * DAY_SECONDS)] = 6 * DAY_SECONDS
    streams_max: Annotated[int, Between(1, 64)] = 4
    batch_max: Annotated[int, Between(1, 1_000)] = 100
    visibility_seconds: Annotated[Seconds, Between(0.1, 12 * 3600)] = 30.0
    leases_max: Annotated[int, Between(1, 5_000)] = 1_000
    deliveries_max: Annotated[int, Between(1, 1_000)] = 20
    requests_max: Annotated[int, Between(1, 10_000)] = 100
