"""Door: which requests a service on this machine answers at all.

A web page on another host can make a browser send requests here: with a Host of its own (DNS rebinding), from an Origin that is
not ours, or as a form or text that needs no question beforehand. None of these is let in. A gateway that passes other names on
is let in by `MESH_ALLOWED_HOSTS`, names separated by commas.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_JSON = frozenset({"application/json", "application/x-ndjson", "application/octet-stream"})
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


class Shut(NamedTuple):
    """Why a request is not let in."""

    status: int
    why: str
    fix: str
    wait_seconds: float = 0.0
    """How long to wait before asking again, where that helps."""


def judge(
    method: str, headers: Mapping[str, str], *, is_public: bool = False, takes_forms: bool = False
) -> Shut | None:
    """Whether a request stays outside. `is_public`: any page may read what is served here, and nothing is changed by it.

    `takes_forms`: the server has pages with forms, and asks each of them for a proof that it is its own (CSRF).
    """
    host = headers.get("Host", "")
    if _name(host) not in _LOCAL | _allowed():
        fix = "ask by 127.0.0.1 or localhost; a gateway's name goes to MESH_ALLOWED_HOSTS"
        return Shut(421, "its Host is no name of this service", fix)
    origin = headers.get("Origin")
    is_foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
    if not is_public and (is_foreign or headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}):
        return Shut(
            403, "it comes from a page of another origin", "send it without a browser, or from this service's own page"
        )
    if method in _WITH_BODY:
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if takes_forms and kind in _FORMS:
            return None
        if kind not in _JSON and not (kind.startswith("application/vnd.schemaregistry") and kind.endswith("json")):
            return Shut(415, "its body is not declared as JSON", "send Content-Type: application/json")
    return None


def _allowed() -> frozenset[str]:
    return frozenset(
        name.strip().lower() for name in os.environ.get("MESH_ALLOWED_HOSTS", "").split(",") if name.strip()
    )


def _name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
