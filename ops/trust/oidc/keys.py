"""Keys of an identity provider: found by discovery (OpenID Connect Discovery 1.0), kept for minutes, asked for anew when one is new.

A provider that is away leaves the keys good that it gave within the last hour; after that nobody's token can be judged.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import httpx
import jwt

from ops.trust.oidc.settings import OidcSettings, must_be_safe
from schemas.errors import Misconfigured, Transient
from schemas.trace import described

FRESH_SECONDS = 300.0
GOOD_SECONDS = 3_600.0
AGAIN_SECONDS = 10.0
"""Not sooner after the last question: a flood of tokens that name keys which nobody has must not become one at the provider."""
ANSWER_WITHIN_SECONDS = 5.0
ANSWER_BYTES_MAX = 1 << 20
_logger = logging.getLogger(__name__)


class ProviderKeys:
    """Any thread may ask; one at a time asks the provider. Raises Misconfigured where its authority's file cannot be read."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._asked_at = self._fetched_at = float("-inf")
        try:
            self._verify = ssl.create_default_context(cafile=settings.ca) if settings.ca else True
        except OSError as error:
            fix = "give a PEM file with the certificates of whoever signed the provider's"
            raise Misconfigured("MESH_TLS_CA", "cannot be read", fix=fix) from error

    def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key of this id; None where the provider has none such. Raises Transient where that cannot be told at present."""
        with self._lock:
            age_seconds = self._clock() - self._fetched_at
            if (age_seconds > FRESH_SECONDS or key_id not in self._keys) and self._may_ask():
                self._ask()
                age_seconds = self._clock() - self._fetched_at
            if age_seconds > GOOD_SECONDS:
                raise Transient(
                    "the identity provider does not answer", retry_after_seconds=AGAIN_SECONDS, fix="ask again"
                )
            return self._keys.get(key_id)

    def _may_ask(self) -> bool:
        return self._clock() - self._asked_at >= AGAIN_SECONDS

    def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            with httpx.Client(timeout=ANSWER_WITHIN_SECONDS, verify=self._verify, follow_redirects=False) as http:
                found = _json(http, f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
                if found["issuer"] != self._settings.issuer:
                    raise ValueError("it calls itself by another name than MESH_OIDC_ISSUER")
                must_be_safe(str(found["jwks_uri"]), "jwks_uri")
                self._keys = dict(_readable(_json(http, found["jwks_uri"])["keys"]))
            self._fetched_at = self._clock()
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError, Misconfigured) as error:
            # What it gave before is good for a while.
            _logger.warning("no keys from %s: %s", self._settings.issuer, described(error))


def _json(http: httpx.Client, address: str) -> Any:
    with http.stream("GET", address) as answer:
        answer.raise_for_status()
        body = b""
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > ANSWER_BYTES_MAX:
                raise ValueError("the answer is too long")
    return json.loads(body)


def _readable(keys: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, jwt.PyJWK]]:
    """Those that sign and that have an id; one that cannot be read leaves the others."""
    for key in keys:
        if key.get("use", "sig") == "sig" and "kid" in key and key.get("kty") in {"RSA", "EC", "OKP"}:
            with suppress(jwt.PyJWTError):
                yield str(key["kid"]), jwt.PyJWK(dict(key))
