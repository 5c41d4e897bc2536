"""Address: which database an address of MariaDB or MySQL names, as whom we come, and how the server proves who it is.

`mysql://user:password@host:3306/database`, or `mariadb://`, with these options behind a question mark:

| option         | meaning                                                                                               |
|----------------|-------------------------------------------------------------------------------------------------------|
| `ssl-mode`     | VERIFY_IDENTITY (what another host has to pass unless this is said), VERIFY_CA, REQUIRED (encrypted, to |
|                | whomever), DISABLED (as for this host)                                                                |
| `ssl-ca`       | file of the authorities that the certificate may come from; else those that this machine trusts       |
| `ssl-cert`, `ssl-key` | our own certificate and its key, where the server asks for one                                 |
| `socket`       | a Unix socket of this host, in place of host and port                                                 |
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from schemas.errors import Misconfigured

FORM = "mysql://user:password@host:3306/database"
_MODES = ("VERIFY_IDENTITY", "VERIFY_CA", "REQUIRED", "DISABLED")
_OPTIONS = ("ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket")
IDENTITY = "SELECT CONCAT(@@hostname, ':', @@port, @@datadir, ' ', DATABASE())"
"""Asks a database for the name that it has whatever address leads to it; every account may."""
_OWN_HOST = frozenset({"", "localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """One database on one server. `socket` stands in for host and port where it is not empty."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    mode: str = "DISABLED"
    authorities: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)
    socket: str = ""

    @property
    def server(self) -> str:
        """Which server, by the address alone."""
        return self.socket or f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """Which database, by the address alone."""
        return f"{self.server}/{self.database}"

    def tls(self) -> ssl.SSLContext | None:
        """What the connection is encrypted by; None for none. Raises Misconfigured for files that cannot be read."""
        if self.mode == "DISABLED":
            return None
        try:
            context = ssl.create_default_context(cafile=self.authorities or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
        except (OSError, ValueError) as error:
            fix = "name files in PEM form that the mesh may read"
            raise Misconfigured("address", f"ssl-ca, ssl-cert or ssl-key: {type(error).__name__}", fix=fix) from None
        context.check_hostname = self.mode == "VERIFY_IDENTITY"
        if self.mode == "REQUIRED":
            context.verify_mode = ssl.CERT_NONE
        return context


def address_of(text: str) -> DatabaseAddress:
    """The parts of an address. Raises Misconfigured for what is none; nothing of it stands in the error."""
    parts, port = _split(text)
    database = unquote(parts.path.removeprefix("/"))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(options) - set(_OPTIONS)):
        known = ", ".join(_OPTIONS)
        raise Misconfigured("address", f"has options that nobody knows: {', '.join(unknown)}", fix=f"known are {known}")
    if not database or "/" in database:
        raise Misconfigured("address", "names no database", fix=f"write {FORM}")
    host, socket = (parts.hostname or "").lower(), options.get("socket", "")
    mode = options.get("ssl-mode", "DISABLED" if socket or host in _OWN_HOST else "VERIFY_IDENTITY").upper()
    if mode not in _MODES:
        raise Misconfigured("address", "ssl-mode is none that is known", fix=f"write one of {', '.join(_MODES)}")
    return DatabaseAddress(
        host="localhost" if host in _OWN_HOST else host,
        port=port,
        database=database,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        mode=mode,
        authorities=options.get("ssl-ca", ""),
        certificate=options.get("ssl-cert", ""),
        key=options.get("ssl-key", ""),
        socket=socket,
    )


def check_address(text: str) -> None:
    """Raises Misconfigured for what is no address."""
    address_of(text)


def _split(text: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(text)
        port = parts.port or 3306
    except ValueError:
        raise Misconfigured("address", "is no address", fix=f"write {FORM}") from None
    if parts.scheme not in {"mysql", "mariadb"}:
        raise Misconfigured("address", "is no address of a MariaDB or MySQL", fix=f"write {FORM}")
    return parts, port
