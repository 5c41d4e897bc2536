"""Target: where a webhook may connect to, checked at every attempt (FIELD-NOTES SK-14, ASVS 5.0 1.3.6).

A name is resolved once, every address it has is judged, and the connection goes to the judged address with the original Host and
TLS name: a name that resolves differently the next moment (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from schemas.errors import Misconfigured, Transient

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
"""Gives every address of a host; raises OSError when it cannot."""

PORTS = (443, 8443)
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_NEVER = (  # cloud metadata: also inside an allowed network
    ipaddress.ip_network("169.254.0.0/16"),
    ipaddress.ip_network("fe80::/10"),
    ipaddress.ip_network("fd00:ec2::254/128"),
    ipaddress.ip_network("100.100.100.200/32"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A checked target: connect to `address`, but speak to `host`."""

    scheme: str
    host: str
    port: int
    address: str
    path: str

    @property
    def url(self) -> str:
        """The URL with the address in place of the name."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def host_header(self) -> str:
        """The Host header that the receiver expects."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": 443, "http": 80}[self.scheme]
        return name if self.port == usual else f"{name}:{self.port}"


def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a host, by the system's resolver."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    """Whether an address may be connected to: a global one, or one in a network that the administrator listed."""
    address: Address = ipaddress.ip_address(text.split("%", 1)[0])
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is not None or any(address in network for network in _NAT64):
            return False
    if any(address.version == network.version and address in network for network in _NEVER):
        return False
    if any(address.version == network.version and address in network for network in allowed):
        return True
    return address.is_global and not address.is_multicast and not address.is_reserved


def check_target(url: str, allowed: Sequence[Network], resolve_host: Resolve = resolve) -> Target:
    """The target of a URL. Raises Misconfigured for one that is not allowed, Transient for a name without address.

    Plain http and other ports than 443 and 8443 are for listed networks only; the list switches no other check off.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Misconfigured("webhook url", "has no valid port", fix="write https://<host>/<path>") from error
    if parts.scheme not in {"https", "http"} or not host:
        raise Misconfigured("webhook url", "is no https address", fix="write https://<host>/<path>")
    if parts.username is not None or parts.password is not None:
        raise Misconfigured("webhook url", "contains a login", fix="leave it out: deliveries are signed")
    port = port or {"https": 443, "http": 80}[parts.scheme]
    try:
        addresses = resolve_host(host, port)
    except OSError as error:
        raise Transient(f"webhook host {host}: no address found", fix="check the name in the sink's url") from error
    is_listed = bool(addresses) and all(
        any(ipaddress.ip_address(text.split("%", 1)[0]) in network for network in allowed) for text in addresses
    )
    refused = [text for text in addresses if not is_allowed(text, allowed)]
    if refused or not addresses:
        raise Misconfigured(
            f"webhook host {host}",
            "has an address that is not public",
            fix="use a public address, or let an administrator list its network in the sink's option `allow_cidrs`",
        )
    if not is_listed and (parts.scheme != "https" or port not in PORTS):
        raise Misconfigured(
            f"webhook host {host}", f"{parts.scheme} on port {port} is not allowed", fix="use https on port 443 or 8443"
        )
    path = parts.path or "/"
    return Target(
        scheme=parts.scheme,
        host=host,
        port=port,
        address=addresses[0].split("%", 1)[0],
        path=f"{path}?{parts.query}" if parts.query else path,
    )
