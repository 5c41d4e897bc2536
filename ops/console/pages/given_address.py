"""Given address: of a department's database as somebody at the console writes it.

A page is filled in elsewhere than on the mesh's host, by people who may not do everything there. So what it gives is a database
across the network and nothing of the host: no variable of its environment, no file, no socket in a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ops.grants.asking import KEPT
from ops.kinds.sources import SOURCES
from ops.settings import Connections
from schemas.errors import Misconfigured

SETTINGS = frozenset({"sslmode", "ssl-mode", "connect_timeout"})
"""What an address may say besides; other settings of a client name files of the host, or another host."""
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9a-f:.]+")


def given_addresses(
    agency: str, sources: Iterable[Mapping[str, Any]], given: Mapping[str, str], kept: Connections
) -> dict[str, str]:
    """What stands for the connection of each source, by name: what was given, else what the mesh keeps. Raises Misconfigured."""
    found: dict[str, str] = {}
    for source in sources:
        name, kind = str(source["name"]), SOURCES.get(str(source.get("kind")))
        if kind is None or not kind.schemes:
            fix = "`mesh onboard` takes it there: it reads what lies on the mesh's own host, or another mesh"
            raise Misconfigured(f"source {name}", "is of a kind that no page takes", fix=fix)
        if address := given.get(name):
            found[name] = _checked(address, name, kind.schemes)
            continue
        try:
            kept.address_of(agency, name)
        except Misconfigured as error:
            raise Misconfigured(f"source {name}", "has no address yet", fix="fill it in here") from error
        found[name] = f"${{{KEPT}}}"
    return found


def _checked(address: str, name: str, schemes: frozenset[str]) -> str:
    """The address, which no error quotes. Raises Misconfigured."""
    try:
        parts = urlsplit(address)
        settings = {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
        is_right = parts.scheme in schemes and _HOST.fullmatch(parts.hostname or "") is not None and parts.port != 0
    except ValueError:
        settings, is_right = set[str](), False
    if not is_right:
        form = f"{min(schemes, key=len)}://user:password@host:port/database"
        raise Misconfigured(
            f"the address of source {name}", "is no database across the network", fix=f"write it as {form}"
        )
    if others := settings - SETTINGS:
        fix = f"leave {', '.join(sorted(others))} out; `mesh onboard` on the mesh's host takes every setting"
        raise Misconfigured(f"the address of source {name}", "has settings that no page takes", fix=fix)
    return address
