"""Settings of an identity provider: each wrong one is refused with what to write instead."""

from __future__ import annotations

import pytest

from ops.trust.oidc.settings import Meaning, oidc_settings
from schemas.errors import Misconfigured
from schemas.guard.caller import Role

GOOD = {"MESH_OIDC_ISSUER": "https://id.example/realms/city", "MESH_OIDC_AUDIENCE": "pearlmesh"}


def test_words_of_the_provider_mean_what_settings_say() -> None:
    assert oidc_settings({}) is None
    plain = oidc_settings(GOOD)
    assert plain is not None
    assert plain.meanings["steward"] == Meaning(role=Role.STEWARD)
    assert plain.skew_seconds == 30
    roles = "a=b=steward@aic+police, reader=viewer ,root=admin@*"
    given = oidc_settings({**GOOD, "MESH_OIDC_ROLES": roles, "MESH_OIDC_ROLE_CLAIM": "realm_access.roles"})
    assert given is not None
    assert given.role_claim == ("realm_access", "roles")
    assert given.meanings == {
        "a=b": Meaning(role=Role.STEWARD, agencies=frozenset({"aic", "police"})),
        "reader": Meaning(role=Role.VIEWER),
        "root": Meaning(role=Role.ADMIN, agencies=frozenset({"*"})),
    }


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"MESH_OIDC_ISSUER": "http://id.example"}, "MESH_OIDC_ISSUER"),
        ({"MESH_OIDC_ISSUER": "id.example"}, "MESH_OIDC_ISSUER"),
        ({"MESH_OIDC_AUDIENCE": ""}, "MESH_OIDC_AUDIENCE"),
        ({"MESH_OIDC_ROLES": "steward"}, "MESH_OIDC_ROLES"),
        ({"MESH_OIDC_ROLES": "x=root"}, "MESH_OIDC_ROLES"),
        ({"MESH_OIDC_ROLES": "x=steward@"}, "MESH_OIDC_ROLES"),
        ({"MESH_OIDC_SKEW_SECONDS": "3600"}, "MESH_OIDC_SKEW_SECONDS"),
        ({"MESH_OIDC_SKEW_SECONDS": "much"}, "MESH_OIDC_SKEW_SECONDS"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(changed: dict[str, str], named: str) -> None:
    with pytest.raises(Misconfigured) as error:
        oidc_settings({**GOOD, **changed})
    assert named in str(error.value)
    assert "fix: " in str(error.value)
