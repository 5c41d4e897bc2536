"""Callers whom an identity provider knows: a real one, its real tokens, at real servers of the mesh."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from ops.trust.oidc.keys import AGAIN_SECONDS, FRESH_SECONDS, GOOD_SECONDS, ProviderKeys
from ops.trust.oidc.provider import OidcProvider
from ops.trust.oidc.settings import oidc_settings
from ops.trust.tokens import revoke_identity
from schemas.errors import Transient
from schemas.guard.caller import Caller, Role
from schemas.log.kafka import Kafka
from schemas.registry.address import entered_by
from schemas.registry.client import RegistryClient
from tests.broker.test_guard import OWN, SCHEMA, STATUS
from tests.stage.guarded import REVOKED_WITHIN_SECONDS, guarded_servers
from tests.stage.guarded import ask as asked
from tests.stage.identity_provider import IdentityProvider, identity_provider
from tests.stage.secured import Authority
from tests.stage.until import until

ENVIRONMENT = {
    "MESH_OIDC_AUDIENCE": "pearlmesh",
    "MESH_OIDC_ROLE_CLAIM": "realm_access.roles",
    "MESH_OIDC_ROLES": f"mesh-data=steward,mesh-look=viewer@{OWN},mesh-run=operator@*",
    "MESH_OIDC_SKEW_SECONDS": "0",
}


def claims(*roles: str, agencies: object = ()) -> dict[str, object]:
    return {"claims": {"realm_access": {"roles": list(roles)}, "agencies": agencies}}


CLIENTS = {
    "steward": claims("mesh-data", "something-else", agencies=[OWN]),
    "steward-of-nothing": claims("mesh-data"),
    "viewer": claims("mesh-look", agencies=["*"]),
    "operator": claims("mesh-run"),
    "both": claims("mesh-data", "mesh-run", agencies=[OWN]),
    "stranger": claims("something-else", agencies=["*"]),
    "boaster": claims("admin", agencies=["*"]),
    "of-another": {**claims("mesh-run"), "audience": "payroll"},
    "brief": {**claims("mesh-run"), "seconds": 1},
}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with identity_provider(tmp_path_factory.mktemp("oidc"), CLIENTS) as provider:
        yield provider


def at(provider: IdentityProvider, now: list[float]) -> OidcProvider:
    """The mesh's side of it, by a clock of the test's."""
    settings = oidc_settings({**ENVIRONMENT, "MESH_OIDC_ISSUER": provider.issuer})
    assert settings is not None
    return OidcProvider(settings, ProviderKeys(settings, lambda: now[0]))


def rights(caller: Caller | None) -> dict[Role, set[str]] | None:
    return None if caller is None else {right.role: set(right.agencies) for right in caller.rights}


def test_what_a_provider_says_of_a_caller_gives_roles_as_settings_say_and_nothing_else(
    provider: IdentityProvider,
) -> None:
    mesh = at(provider, [0.0])
    told = {name: rights(mesh.caller(provider.token(name))) for name in CLIENTS if name != "brief"}
    assert told == {
        "steward": {Role.STEWARD: {OWN}},
        "steward-of-nothing": {Role.STEWARD: set()},
        "viewer": {Role.VIEWER: {OWN}},
        "operator": {Role.OPERATOR: {"*"}},
        "both": {Role.STEWARD: {OWN}, Role.OPERATOR: {"*"}},
        "stranger": None,
        "boaster": None,
        "of-another": None,
    }
    both = mesh.caller(provider.token("both"))
    assert both is not None
    remit = both.remit({Role.STEWARD, Role.ADMIN})
    assert remit is not None
    assert not remit.is_all, "one role's agencies are not another's"


def test_what_is_forged_lets_nobody_in(provider: IdentityProvider) -> None:
    mesh, token = at(provider, [0.0]), provider.token("operator")
    assert mesh.caller(token) is not None
    head, body, signature = token.split(".")
    public = httpx.get(f"{provider.issuer}/jwks", trust_env=False).json()["keys"][0]
    said = json.loads(base64.urlsafe_b64decode(f"{body}=="))

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    by_public_key = jwt.encode(said, public["n"], algorithm="HS256", headers={"kid": public["kid"]})
    forged = [
        f"{part({'alg': 'none', 'kid': public['kid']})}.{body}.",
        f"{head}.{part({**said, 'sub': 'somebody'})}.{signature}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        by_public_key,
        f"{part({'alg': 'RS256'})}.{body}.{signature}",
        f"{part({'alg': 'RS256', 'kid': public['kid'], 'typ': 'logout+jwt'})}.{body}.{signature}",
        "a.b.c",
        "..",
    ]
    assert [mesh.caller(each) for each in forged] == [None] * len(forged)
    other = oidc_settings({**ENVIRONMENT, "MESH_OIDC_ISSUER": provider.issuer})
    assert other is not None
    elsewhere = replace(other, issuer=f"{provider.issuer}/")
    with pytest.raises(Transient):  # who answers there calls itself otherwise, and gives no keys
        OidcProvider(elsewhere, ProviderKeys(elsewhere, lambda: 0.0)).caller(token)


def test_keys_are_kept_and_asked_for_anew_but_not_at_a_strangers_pace(tmp_path: Path) -> None:
    now = [1_000.0]
    with identity_provider(tmp_path, CLIENTS) as provider:
        mesh = at(provider, now)
        former = provider.token("operator")
        assert mesh.caller(former) is not None
        provider.rotate("ES256")
        later = provider.token("operator")
        assert mesh.caller(later) is None, "an unknown key makes the mesh ask, but not at once again"
        now[0] += AGAIN_SECONDS
        assert mesh.caller(later) is not None
        assert mesh.caller(former) is None, "its key is no longer the provider's"
    now[0] += FRESH_SECONDS + AGAIN_SECONDS
    assert mesh.caller(later) is not None, "the provider is away: what it gave is good for a while"
    now[0] += GOOD_SECONDS
    with pytest.raises(Transient, match="does not answer"):
        mesh.caller(later)


def test_who_comes_from_the_provider_enters_until_that_expires_or_is_revoked(
    provider: IdentityProvider, kafka: Kafka, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.certificate("mesh")
    environment = {
        **ENVIRONMENT,
        "MESH_OIDC_ISSUER": provider.issuer,
        "MESH_LISTEN": "0.0.0.0",
        "MESH_TLS_CERTIFICATE": str(certificate),
        "MESH_TLS_KEY": str(key),
    }
    ask = partial(asked, verify=ssl.create_default_context(cafile=str(authority.file)))
    with guarded_servers(kafka, tmp_path, STATUS, environment) as servers:
        registry, console = f"{servers.urls['registry']}/subjects", f"{servers.urls['console']}/status"
        steward, operator, brief = (provider.token(name) for name in ("steward", "operator", "brief"))
        until(lambda: ask(registry, token=operator)[0] == 200, 30, "tokens can be judged")
        assert ask(f"{registry}/{OWN}.x-value/versions", token=steward)[0] == 404
        assert ask(f"{registry}/foreign.x-value/versions", token=steward)[0] == 403
        assert ask(f"{servers.urls['metrics']}/metrics", token=steward)[0] == 403
        assert ask(f"{servers.urls['metrics']}/metrics", token=operator)[0] == 200
        assert ask(console, token=provider.token("stranger"))[0] == 401
        until(lambda: ask(console, token=brief)[0] == 401, REVOKED_WITHIN_SECONDS, "it has expired")
        assert {urlsplit(servers.urls[name]).scheme for name in ("registry", "console", "opendata")} == {"https"}
        entered = entered_by(servers.urls["registry"], steward, str(authority.file))
        with closing(RegistryClient(entered)) as ours:
            schema_id = ours.register(f"{OWN}.tls-value", json.loads(SCHEMA))
        stock = {"ssl.ca.location": str(authority.file), "basic.auth.user.info": f"customs:{steward}"}
        with SchemaRegistryClient({"url": servers.urls["registry"], **stock}) as theirs:
            assert theirs.get_latest_version(f"{OWN}.tls-value").schema_id == schema_id
        revoke_identity(servers.settings, "operator")
        until(lambda: ask(console, token=operator)[0] == 401, REVOKED_WITHIN_SECONDS, "it is revoked")
        assert ask(console, token=steward)[0] == 200
        # The provider tells whole seconds: what it gives in the next one is later.
        until(
            lambda: ask(console, token=provider.token("operator"), source="127.0.6.1")[0] == 200,
            10,
            "a later one is good",
        )
