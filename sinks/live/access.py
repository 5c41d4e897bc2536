"""Access: whose requests a live feed answers, and how many of them. Tokens are compared in constant time and never shown."""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
import tempfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import Misconfigured
from sinks.live.options import CERTIFICATE_KEY, PREVIOUS_TOKEN, TOKEN, TOKEN_FORM, LiveOptions
from sinks.sink import SinkSetup

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{32,512}=*")  # RFC 6750, 2.1
FAILURES_PER_SECOND = 0.2
FAILURES_AT_ONCE = 10
ADDRESSES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that open a feed, kept as digests: nothing of them is in memory longer than it takes to read them."""

    digests: tuple[bytes, ...] = field(repr=False)

    def admits(self, authorization: str) -> bool:
        """Whether a request's `Authorization` header has one. Takes as long for a wrong one as for a right one."""
        scheme, _, token = authorization.partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        found = False
        for known in self.digests:
            found |= hmac.compare_digest(digest, known)
        return found and scheme.lower() == "bearer"


def tokens_of(setup: SinkSetup, options: LiveOptions) -> Tokens:
    """The sink's token, and while it is being replaced the one before. Raises Misconfigured without showing them."""
    given = setup.secrets_in_use(options.secret, TOKEN, PREVIOUS_TOKEN)
    for what, token in given:
        if not _TOKEN.fullmatch(token):
            raise Misconfigured(f"{setup.label}, {what}", "is no token", fix=f"give it {TOKEN_FORM}")
    return Tokens(tuple(hashlib.sha256(token.encode()).digest() for _, token in given))


def tls_of(setup: SinkSetup, options: LiveOptions) -> ssl.SSLContext | None:
    """How others are served, None on this host alone. Raises Misconfigured for https without a certificate and its key."""
    if not options.listen.uses_tls:
        return None
    if not options.certificate:
        fix = "give it `certificate` and its `certificate_key`, or listen on http://127.0.0.1"
        raise Misconfigured(f"{setup.label}, certificate", "is not there, and https needs one", fix=fix)
    key = setup.secret("", f"{setup.sink.name}.{CERTIFICATE_KEY}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:  # its mode is 0700, and OpenSSL takes files only
        certificate_file, key_file = Path(folder, "certificate"), Path(folder, "key")
        certificate_file.write_text(options.certificate)
        key_file.write_text(key)
        try:
            # Without a password, so that an encrypted key is refused and nobody is asked for one.
            context.load_cert_chain(certificate_file, key_file, password=lambda: "")
        except (ssl.SSLError, OSError) as error:
            fix = (
                "give the PEM of a certificate, with those of whoever signed it behind it, and of its key, unencrypted"
            )
            raise Misconfigured(f"{setup.label}, certificate", "does not go with its key", fix=fix) from error
    return context


class Allowance:
    """So many a second, and a burst of them after a pause. Time is passed in, in seconds of a clock that only goes forward."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at = 0.0

    def wait_seconds(self, now: float) -> float:
        """0 if there is one more, which is used up by asking; else how long until there is."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_second)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._per_second


class Failures:
    """Requests without a right token, by the address that they came from; the addresses seen last are remembered."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, Allowance] = OrderedDict()

    def wait_seconds(self, address: str, now: float) -> float:
        """Count one more: 0 if it may be told that its token is wrong, else how long it is told nothing."""
        allowance = self._by_address.setdefault(address, Allowance(FAILURES_PER_SECOND, FAILURES_AT_ONCE))
        self._by_address.move_to_end(address)
        if len(self._by_address) > ADDRESSES_MAX:
            self._by_address.popitem(last=False)
        return allowance.wait_seconds(now)
