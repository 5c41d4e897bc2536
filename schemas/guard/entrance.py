"""Entrance: where a server listens, how it proves itself, and who guards it.

What is open to others without a guard or without TLS does not start (invariant 12).
"""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from schemas.errors import Misconfigured
from schemas.guard.guard import Guard

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """`host`: the numeric address to listen on. As it comes: this machine alone, without a guard.

    `name`: what it is called in its certificate, and so by whoever asks.
    """

    host: str = LOOPBACK
    tls: ssl.SSLContext | None = None
    guard: Guard | None = None
    name: str = ""

    def check(self, what: str, *, is_guarded: bool | None = None) -> None:
        """Raises Misconfigured for a server that others could reach and that lets anybody in, or is read on the way.

        `is_guarded`: whether it will be, where it is not made yet.
        """
        try:
            is_local = ip_address(self.host).is_loopback
        except ValueError as error:
            fix = "give a numeric address, such as 127.0.0.1, 0.0.0.0 or ::"
            raise Misconfigured("MESH_LISTEN", "is no address", fix=fix) from error
        if is_local:
            return
        if not (self.guard is not None if is_guarded is None else is_guarded):
            fix = "set MESH_AUTH=on and issue tokens (`mesh token issue`), or leave MESH_LISTEN at 127.0.0.1"
            raise Misconfigured(what, f"would answer everybody who reaches {self.host}", fix=fix)
        if self.tls is None:
            fix = (
                "set MESH_TLS_CERTIFICATE and MESH_TLS_KEY to PEM files, or let it listen on 127.0.0.1 behind a gateway"
            )
            raise Misconfigured(what, f"would send tokens in clear on {self.host}", fix=fix)

    def url(self, port: int) -> str:
        """Where it answers: by its name where it has to prove that, else on this machine."""
        host = LOOPBACK if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 -- compared
        host = self.name if self.tls and self.name else host
        return f"{'https' if self.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


LOOPBACK_ALONE = Entrance()


def tls_context(certificate: str, key: str, setting: str) -> ssl.SSLContext:
    """How a server proves itself, from the PEM of its certificate and of its key. Raises Misconfigured, named by `setting`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:  # its mode is 0700, and OpenSSL takes files only
        certificate_file, key_file = Path(folder, "certificate"), Path(folder, "key")
        certificate_file.write_text(certificate)
        key_file.write_text(key)
        try:
            # Without a password, so that an encrypted key is refused and nobody is asked for one.
            context.load_cert_chain(certificate_file, key_file, password=lambda: "")
        except (ssl.SSLError, OSError) as error:
            fix = (
                "give the PEM of a certificate, with those of whoever signed it behind it, and of its key, unencrypted"
            )
            raise Misconfigured(setting, "does not go with its key", fix=fix) from error
    return context
