"""Entry: how the mesh's servers are entered, as settings say it; the same for all processes of a host.

| setting                    | meaning                                                                                          |
|----------------------------|--------------------------------------------------------------------------------------------------|
| `MESH_AUTH`                | `on`: every request to registry, console, open data and metrics needs a token                      |
| `MESH_LISTEN`              | the numeric address where registry, console and open data listen; default 127.0.0.1                |
| `MESH_TLS_CERTIFICATE`, `MESH_TLS_KEY` | PEM files by which those prove themselves                                               |
| `MESH_TLS_CA`              | a PEM file of who signed that certificate, and the identity provider's                              |
| `MESH_REQUESTS_PER_SECOND` | of one caller, else 429; default 100                                                               |
| `MESH_OIDC_…`              | see ops/trust/oidc/settings.py                                                                     |

What processes of the mesh enter by are two tokens that it mints itself, kept as `connections/mesh.service-token` and
`connections/mesh.scrape-token` (or given as `MESH_CONNECTION_MESH_SERVICE_TOKEN` and so on). Whoever runs the mesh on several hosts
copies them along.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ops.settings import OWN_TOKENS, SCRAPE_TOKEN, SERVICE_TOKEN, TLS_CA, Settings, own_token
from ops.trust.callers import KnownCallers
from ops.trust.oidc.keys import ProviderKeys
from ops.trust.oidc.provider import OidcProvider
from ops.trust.oidc.settings import oidc_settings
from schemas.errors import Misconfigured
from schemas.guard.caller import EVERYTHING, Caller, Right, Role
from schemas.guard.entrance import LOOPBACK, LOOPBACK_ALONE, Entrance, tls_context
from schemas.guard.guard import PER_SECOND, Guard, Refused, tell_nobody
from schemas.guard.token import digest_of
from schemas.log.control.token_follower import TokenFollower

_OWN_ROLES = {SERVICE_TOKEN: Role.ADMIN, SCRAPE_TOKEN: Role.VIEWER}


class Doorkeeper:
    """Who guards the servers of one process, from its start to `close`. None does where authentication is off."""

    def __init__(self, settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
        """Raises Misconfigured."""
        self._environment = environment
        self._callers: KnownCallers | None = None
        if settings.is_guarded:
            oidc = oidc_settings(environment, environment.get(TLS_CA, ""))
            provider = OidcProvider(oidc, ProviderKeys(oidc)) if oidc else None
            own = dict(_own_callers(settings.directory))
            self._callers = KnownCallers(TokenFollower(settings.kafka), own, provider)

    def guard(self, refused: Refused = tell_nobody) -> Guard | None:
        """For a server of this process. `refused` is told of whoever is not let in."""
        if self._callers is None:
            return None
        return Guard(self._callers, refused, per_second=_per_second(self._environment))

    def beside(self, refused: Refused = tell_nobody) -> Entrance:
        """For what only this machine asks."""
        return replace(LOOPBACK_ALONE, guard=self.guard(refused))

    def entrance(self, refused: Refused = tell_nobody) -> Entrance:
        """For registry, console and open data. Raises Misconfigured."""
        return replace(place(self._environment), guard=self.guard(refused))

    def close(self) -> None:
        """Follow nothing any more."""
        if self._callers is not None:
            self._callers.close()


def place(environment: Mapping[str, str] = os.environ) -> Entrance:
    """Where registry, console and open data listen, and how they prove themselves; still without a guard. Raises Misconfigured."""
    files = [environment.get(name, "") for name in ("MESH_TLS_CERTIFICATE", "MESH_TLS_KEY")]
    certificate, key = map(_text_of, files)
    tls = tls_context(certificate, key, "MESH_TLS_CERTIFICATE") if any(files) else None
    name = environment.get("MESH_ALLOWED_HOSTS", "").partition(",")[0].strip()
    return Entrance(host=environment.get("MESH_LISTEN") or LOOPBACK, tls=tls, name=name)


def _own_callers(directory: Path) -> list[tuple[str, tuple[bytes, Caller]]]:
    def caller(name: str) -> Caller:
        right = Right(role=_OWN_ROLES[name], agencies=EVERYTHING.agencies)
        return Caller(name=f"mesh {name}", rights=(right,), is_limited=False)

    return [(known, (digest_of(own_token(directory, name)), caller(name))) for name, known in OWN_TOKENS.items()]


def _per_second(environment: Mapping[str, str]) -> float:
    given = environment.get("MESH_REQUESTS_PER_SECOND", "")
    try:
        per_second = float(given or PER_SECOND)
    except ValueError:
        per_second = 0.0
    if not 1 <= per_second <= 100_000:
        fix = "leave it unset, or give a number from 1 to 100000"
        raise Misconfigured("MESH_REQUESTS_PER_SECOND", "is no number of requests", fix=fix)
    return per_second


def _text_of(file: str) -> str:
    fix = "give both MESH_TLS_CERTIFICATE and MESH_TLS_KEY, as PEM files that this process may read"
    try:
        return Path(file).read_text() if file else ""
    except (OSError, ValueError) as error:
        raise Misconfigured(f"MESH_TLS_CERTIFICATE, MESH_TLS_KEY: {file}", "cannot be read", fix=fix) from error
