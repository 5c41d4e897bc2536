"""Address of a drop in an object store: `s3://bucket/prefix?endpoint=https://host:port&region=name`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from schemas.errors import Misconfigured
from sinks.drops.s3.options import S3Options
from sinks.sink import SinkSetup

_FORM = "s3://bucket/prefix?endpoint=https://host:port&region=name"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_REGION_OF_MOST = "us-east-1"
"""What stores take that have no regions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Address:
    """Where a drop goes. No endpoint is Amazon's own for the region; `prefix` is empty or ends with a slash."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def s3_address(text: str, setting: str, *, allow_http: bool = False) -> S3Address:
    """Read an address. Raises Misconfigured; the text is quoted nowhere, since it may hold a login."""

    def wrong(problem: str, fix: str = f"write {_FORM}") -> Misconfigured:
        return Misconfigured(setting, problem, fix=fix)

    try:
        parts = urlsplit(text)
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise wrong("cannot be read as an address") from None
    if parts.scheme != "s3":
        raise wrong("is no address of a bucket")
    if "@" in parts.netloc:
        raise wrong("contains a login", "give the two as `access_key:` and `secret_key:` beside the connection")
    if not _BUCKET.fullmatch(parts.netloc):
        raise wrong("names no bucket: 3 to 63 lower-case letters, digits, '-' and '.'")
    if parts.fragment or query.keys() - {"endpoint", "region"} or any(len(values) > 1 for values in query.values()):
        raise wrong("has more than an endpoint and a region behind its question mark")
    prefix = unquote(parts.path).strip("/")
    if any(part in {"", ".", ".."} for part in prefix.split("/")) and prefix:
        raise wrong("has a prefix with an empty part, '.' or '..'")
    region = query.get("region", [_REGION_OF_MOST])[0]
    if not _REGION.fullmatch(region):
        raise wrong("has a region that can be none")
    endpoint = query["endpoint"][0].rstrip("/") if "endpoint" in query else None
    if endpoint is not None:
        _look(endpoint, setting, allow_http=allow_http)
    return S3Address(bucket=parts.netloc, prefix=f"{prefix}/" if prefix else "", endpoint=endpoint, region=region)


def _look(endpoint: str, setting: str, *, allow_http: bool) -> None:
    try:
        parts = urlsplit(endpoint)
        is_whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_whole = False
        parts = None
    if not is_whole or parts is None or parts.scheme not in {"http", "https"}:
        raise Misconfigured(setting, "has no endpoint of the form https://host:port", fix=f"write {_FORM}")
    if "@" in parts.netloc or parts.path or parts.query:
        raise Misconfigured(setting, "has an endpoint with more than a host and a port", fix=f"write {_FORM}")
    if parts.scheme == "http" and not allow_http:
        fix = "write https://; or, where rows may travel unencrypted, set the option `allow_http: true`"
        raise Misconfigured(setting, "has an endpoint without TLS", fix=fix)


def address_of(setup: SinkSetup, options: S3Options) -> S3Address:
    """The address of a sink. Raises Misconfigured."""
    text = setup.secret(options.address, setup.sink.name)
    return s3_address(text, f"{setup.label}, connection", allow_http=options.allow_http)
