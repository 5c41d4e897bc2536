"""Network: what subscribers' addresses may be reached beside public ones. The operator says, and nobody else widens it."""

from __future__ import annotations

import ipaddress

from schemas.errors import Misconfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NETWORKS = "MESH_WEBHOOK_NETWORKS"
"""The operator's setting: networks of an intranet that webhooks may reach, also by plain http."""


def networks_of(text: str) -> tuple[Network, ...]:
    """The networks of the operator's setting, separated by commas or spaces. Raises Misconfigured."""
    try:
        return tuple(ipaddress.ip_network(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise Misconfigured(NETWORKS, str(error), fix="write networks as 10.0.0.0/8,fd12::/16") from error
