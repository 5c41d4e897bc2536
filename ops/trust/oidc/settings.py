"""Settings of the identity provider whose tokens are taken.

| setting               | meaning                                                                                            |
|-----------------------|----------------------------------------------------------------------------------------------------|
| `MESH_OIDC_ISSUER`    | the provider's address, as it stands in its tokens; its keys are found by discovery                  |
| `MESH_OIDC_AUDIENCE`  | for whom its tokens have to be, such as `pearlmesh`                                                |
| `MESH_OIDC_ROLE_CLAIM` | where roles or groups stand in a token, with dots within, such as `realm_access.roles`; default `roles` |
| `MESH_OIDC_AGENCY_CLAIM` | where agencies' codes stand; default `agencies`                                                  |
| `MESH_OIDC_SKEW_SECONDS` | by how much the provider's clock may be another; default 30                                      |
| `MESH_OIDC_ROLES`     | what those mean here: `mesh-admin=admin@*,customs-data=steward@customs,mesh-reader=viewer`            |

A role with `@` is for the agencies behind it (several by `+`, all by `*`), one without for those of the agency claim. Without
MESH_OIDC_ROLES a role of the token is one of ours of the same name, for the agencies of the claim. Nothing else in a token gives
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from schemas.errors import Misconfigured
from schemas.guard.caller import Role

SKEW_SECONDS = 30.0
SKEW_SECONDS_MAX = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a word of the provider's gives: a role, for these agencies; None: those that the token names."""

    role: Role
    agencies: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """One provider."""

    issuer: str
    audience: str
    role_claim: tuple[str, ...] = ("roles",)
    agency_claim: tuple[str, ...] = ("agencies",)
    meanings: Mapping[str, Meaning] = field(default_factory=lambda: {role.value: Meaning(role=role) for role in Role})
    ca: str = ""
    skew_seconds: float = SKEW_SECONDS


def oidc_settings(environment: Mapping[str, str], ca: str = "") -> OidcSettings | None:
    """The provider that settings name; None for none. Raises Misconfigured."""
    issuer, audience = environment.get("MESH_OIDC_ISSUER", ""), environment.get("MESH_OIDC_AUDIENCE", "")
    if not issuer:
        return None
    must_be_safe(issuer, "MESH_OIDC_ISSUER")
    if not audience:
        fix = "give the audience that the provider writes into tokens for this mesh: tokens for others would be taken"
        raise Misconfigured("MESH_OIDC_AUDIENCE", "is not there", fix=fix)
    given = environment.get("MESH_OIDC_ROLES", "")
    meanings = {"meanings": dict(map(_meaning, filter(None, map(str.strip, given.split(",")))))} if given else {}
    return OidcSettings(
        issuer=issuer,
        audience=audience,
        role_claim=tuple(environment.get("MESH_OIDC_ROLE_CLAIM", "roles").split(".")),
        agency_claim=tuple(environment.get("MESH_OIDC_AGENCY_CLAIM", "agencies").split(".")),
        ca=ca,
        skew_seconds=_skew(environment.get("MESH_OIDC_SKEW_SECONDS", "")),
        **meanings,
    )


def _skew(given: str) -> float:
    try:
        seconds = float(given or SKEW_SECONDS)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= SKEW_SECONDS_MAX:
        fix = f"leave it unset, or give seconds from 0 to {SKEW_SECONDS_MAX:g}"
        raise Misconfigured("MESH_OIDC_SKEW_SECONDS", "is no number of seconds", fix=fix)
    return seconds


def must_be_safe(address: str, what: str) -> None:
    """Keys are taken by https, or from this machine. Raises Misconfigured."""
    try:
        url = urlsplit(address)
        host = url.hostname or ""
    except ValueError:
        url, host = None, ""
    if url is not None and host and (url.scheme == "https" or (url.scheme == "http" and _is_loopback(host))):
        return
    raise Misconfigured(what, "is no https address", fix="give it as https://..., as the provider's discovery has it")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _meaning(text: str) -> tuple[str, Meaning]:
    word, _, meant = text.rpartition("=")
    role, at, agencies = meant.partition("@")
    codes = frozenset(filter(None, agencies.split("+")))
    if not word or role not in set(Role) or (at and not codes):
        fix = f"write <the provider's word>=<role>[@<agency>[+<agency>]]; roles are {', '.join(Role)}"
        raise Misconfigured("MESH_OIDC_ROLES", f"cannot read {text!r}", fix=fix)
    return word, Meaning(role=Role(role), agencies=codes if at else None)
