"""Address: where a registry is, and how its clients enter: `https://<user>:<password or token>@<host>:<port>?ca=<file>`.

The login is as stock clients have it, HTTP Basic; our own registry looks at the token alone. `ca` is a PEM file of the authority
that signed its certificate, where this machine does not trust it anyway.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qs, quote, unquote, urlsplit, urlunsplit

from schemas.errors import Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAddress:
    """An address, taken apart; `url` shows nothing of the login."""

    url: str
    login: tuple[str, str] | None = field(default=None, repr=False)
    ca: str = ""

    @classmethod
    def parse(cls, text: str) -> RegistryAddress:
        """Read one. Raises Misconfigured, without showing any of it."""
        try:
            parts = urlsplit(text)
            query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
            _ = parts.port
        except ValueError as error:
            raise _no_address() from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or query.keys() - {"ca"}:
            raise _no_address()
        host = parts.netloc.rpartition("@")[2]
        login = (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None
        if login and parts.scheme == "http" and not _is_local(parts.hostname):
            fix = "reach it by https, or without a login"
            raise Misconfigured(f"registry {host}", "its login would go out in clear", fix=fix)
        url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        return cls(url=url, login=login, ca=query.get("ca", [""])[-1])

    def tls_context(self) -> ssl.SSLContext | None:
        """What its certificate is checked by, None for what this machine trusts. Raises Misconfigured."""
        if not self.ca:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            fix = "give the PEM file of the authority that signed its certificate"
            raise Misconfigured(f"registry {self.url}, ca", "cannot be read", fix=fix) from error


def entered_by(url: str, token: str, ca: str) -> str:
    """The address with a token and an authority, unless it has a login of its own already."""
    parts = urlsplit(url)
    netloc = parts.netloc if "@" in parts.netloc or not token else f"mesh:{quote(token, safe='')}@{parts.netloc}"
    query = parts.query or (f"ca={quote(ca, safe='/')}" if ca and parts.scheme == "https" else "")
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _no_address() -> Misconfigured:
    fix = "write it https://<host>:<port>, with <user>:<password>@ before the host where it asks for a login"
    return Misconfigured("the registry's address", "is none", fix=fix)
