"""Address of a source of kind `push`: where its endpoint listens, `http://127.0.0.1:8480` or `https://ADDRESS:PORT`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from schemas.errors import Misconfigured
from schemas.guard.entrance import Entrance

EXAMPLE = "http://127.0.0.1:8480"
_FIX = f"write {EXAMPLE} for this host alone, or https://ADDRESS:PORT for others, by a numeric address"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushAddress:
    """Where to listen. Without TLS it is an address of this host alone."""

    host: str
    port: int
    uses_tls: bool

    def entrance(self, given: Entrance, setting: str) -> Entrance:
        """How the endpoint is entered: as the mesh's other servers are (`given`), at this address. Raises Misconfigured."""
        if self.uses_tls and given.tls is None:
            fix = "set MESH_TLS_CERTIFICATE and MESH_TLS_KEY for the capturing process, or listen on http://127.0.0.1"
            raise Misconfigured(setting, "is https, and there is no certificate to show", fix=fix)
        entrance = replace(given, host=self.host, tls=given.tls if self.uses_tls else None)
        entrance.check(setting)
        return entrance


def push_address(text: str, setting: str) -> PushAddress:
    """Read one. Raises Misconfigured, also for an address that others reach and that has no TLS."""
    try:
        url = urlsplit(text)
        host, port = ip_address(url.hostname or ""), url.port
    except ValueError:
        raise Misconfigured(setting, "is no address to listen on", fix=_FIX) from None
    is_bare = url.path in {"", "/"} and not (url.query or url.fragment or url.username or url.password)
    if url.scheme not in {"http", "https"} or not port or not is_bare:
        raise Misconfigured(setting, "is no address to listen on", fix=_FIX)
    if url.scheme == "http" and not host.is_loopback:
        raise Misconfigured(setting, "would let tokens and rows travel in clear", fix=_FIX)
    return PushAddress(host=str(host), port=port, uses_tls=url.scheme == "https")
