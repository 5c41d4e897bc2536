"""What may stand under `options` of a sink of kind `s3`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from schemas.form import Between, Bytes, Written
from sinks.drops.options import DropOptions
from sinks.sink import SecretName

ACCESS_KEY = "access_key"
SECRET_KEY = "secret_key"  # noqa: S105 -- its name
_BEGIN = "-----BEGIN CERTIFICATE-----"


def _certificates(value: Any) -> str:
    if not isinstance(value, str) or _BEGIN not in value:
        raise ValueError
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options(DropOptions):
    """All of them optional.

    `address`: the name of the secret with the address, the sink's own name if empty. `addressing`: `path` puts the bucket into the
    path of a request, as most stores in a data centre want it, `virtual` before the host's name, as Amazon does. `tls_ca`: the
    certificates (PEM) of whoever signed the store's own, where the system does not know them. `allow_http`: rows may travel
    unencrypted, to an endpoint that begins with http://.
    """

    bytes_max: Annotated[Bytes, Between(1, 1 << 30)] = 16_000_000  # a file is one request, which may have 5 GB
    address: SecretName = ""
    addressing: Literal["path", "virtual"] = "path"
    tls_ca: Annotated[str, Written(_certificates, f"certificates as PEM, which begin with {_BEGIN}")] = ""
    allow_http: bool = False
