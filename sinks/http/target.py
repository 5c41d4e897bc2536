"""Target: where a webhook may connect to, checked at every attempt (SK-14, ASVS 5.0 1.3.6).

A name is resolved once, every address it has is judged, and the connection goes to the judged address with the original Host and
TLS name: a name that resolves differently the next moment (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from schemas.errors import Misconfigured, Transient
from sinks.network import NETWORKS, Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""Gives every address of a host; raises OSError when it cannot."""

PORTS = (443, 8443)

_USUAL_PORT = {"https": 443, "http": 80}
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_IN_PATH = "/%:@!$&'()*+,;=~?"
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
        return name if self.port == _USUAL_PORT[self.scheme] else f"{name}:{self.port}"


def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a host, by the system's resolver."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    """Whether an address may be connected to: a global one, or one in a network that the operator listed."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """The address of a webhook as it was written, once it is known to be one. `host` and `path` are ASCII."""

    scheme: str
    host: str
    port: int
    path: str


def parse_url(url: str) -> Url:
    """Read an address, without asking anybody. Raises Misconfigured, which says what about it is wrong."""
    if any(character.isspace() or not character.isprintable() for character in url):
        raise _no_address("holds a space or a control character")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        problem = "has no valid port" if "ort" in str(error) else "has brackets that are no IPv6 address"
        raise _no_address(problem) from error
    if parts.scheme not in _USUAL_PORT or not host:
        raise _no_address("is no https address")
    if parts.username is not None or parts.password is not None:
        raise Misconfigured("webhook url", "contains a login", fix="leave it out: deliveries are signed")
    if port == 0 or parts.netloc.endswith(":"):
        raise _no_address("has no valid port")
    path = quote(parts.path or "/", safe=_IN_PATH)
    return Url(
        scheme=parts.scheme,
        host=_ascii(host),
        port=port or _USUAL_PORT[parts.scheme],
        path=f"{path}?{quote(parts.query, safe=_IN_PATH)}" if parts.query else path,
    )


def _ascii(host: str) -> str:
    """A host name as resolvers and certificates know it: IDNA, without the dot at its end."""
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError as error:
            raise _no_address("has brackets that are no IPv6 address") from error
    try:
        name = host.encode("idna").decode("ascii").removesuffix(".")
    except UnicodeError as error:
        raise _no_address("has a host name with an empty or overlong part") from error
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise _no_address("has a host name with an empty or overlong part, or a sign that no name has")
    return name.lower()


def _no_address(problem: str) -> Misconfigured:
    return Misconfigured("webhook url", problem, fix="write https://<host>/<path>")


def check_target(url: str, allowed: Sequence[Network], resolve_host: Resolve = resolve) -> Target:
    """The target of a URL. Raises Misconfigured for one that is not allowed, Transient for a name without address.

    Plain http and other ports than 443 and 8443 are for listed networks only; the list switches no other check off.
    """
    parsed = parse_url(url)
    scheme, host, port = parsed.scheme, parsed.host, parsed.port
    try:
        addresses = resolve_host(host, port)
    except (OSError, UnicodeError) as error:
        raise Transient(f"webhook host {host}: no address found", fix="check the name in the sink's url") from error
    is_listed = bool(addresses) and all(
        any(ipaddress.ip_address(text.split("%", 1)[0]) in network for network in allowed) for text in addresses
    )
    refused = [text for text in addresses if not is_allowed(text, allowed)]
    if refused or not addresses:
        raise Misconfigured(
            f"webhook host {host}",
            "has an address that is not public",
            fix=f"use a public address, or let an operator list its network in {NETWORKS} and start delivery again",
        )
    if not is_listed and (scheme != "https" or port not in PORTS):
        raise Misconfigured(
            f"webhook host {host}", f"{scheme} on port {port} is not allowed", fix="use https on port 443 or 8443"
        )
    return Target(scheme=scheme, host=host, port=port, address=addresses[0].split("%", 1)[0], path=parsed.path)
