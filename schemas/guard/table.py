"""The table: which roles may use which endpoint of which server, and how far it reaches. What is not in it is nobody's.

An endpoint is a method and the address as the server has it among its routes; GET stands for HEAD too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from schemas.guard.caller import Caller, Remit, Role
from schemas.guard.door import Shut


class Reach(Enum):
    """What of the mesh an endpoint touches."""

    ANYBODY = "what is published, or nothing of the mesh, such as the page by which one enters: also for who has proved nothing"
    FREE = "nothing of any agency's"
    CUT = "what is of the caller's agencies: the answer is cut to it"
    OWN = "what its address names, which must be of the caller's agencies"
    CITY = "what is of no agency alone: only for who has all of them"


class Allowed(NamedTuple):
    """Who may, and how far."""

    roles: frozenset[Role]
    reach: Reach


_ALL = frozenset(Role) - {Role.PROVIDER}
_STAFF = _ALL - {Role.SUBSCRIBER}
_STEWARDS = frozenset({Role.STEWARD, Role.ADMIN})
_KEEPERS = _ALL - {Role.VIEWER}
_ASKERS = frozenset({Role.SUBSCRIBER, Role.STEWARD, Role.ADMIN})
_OPERATORS = frozenset({Role.OPERATOR, Role.ADMIN})
_WATCHERS = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})
_SUBSCRIBERS = frozenset({Role.SUBSCRIBER})
_PROVIDERS = frozenset({Role.PROVIDER})
_ADMINS = frozenset({Role.ADMIN})

_REGISTRY = {
    "GET /": Allowed(_ALL, Reach.FREE),
    "GET /subjects": Allowed(_ALL, Reach.CUT),
    "POST /subjects/{subject}": Allowed(_ALL, Reach.OWN),  # looks a schema up
    "DELETE /subjects/{subject}": Allowed(_STEWARDS, Reach.OWN),
    "GET /subjects/{subject}/metadata": Allowed(_ALL, Reach.OWN),
    "GET /subjects/{subject}/versions": Allowed(_ALL, Reach.OWN),
    "POST /subjects/{subject}/versions": Allowed(_STEWARDS, Reach.OWN),
    "GET /subjects/{subject}/versions/{version}": Allowed(_ALL, Reach.OWN),
    "DELETE /subjects/{subject}/versions/{version}": Allowed(_STEWARDS, Reach.OWN),
    "GET /subjects/{subject}/versions/{version}/schema": Allowed(_ALL, Reach.OWN),
    "GET /subjects/{subject}/versions/{version}/referencedby": Allowed(_ALL, Reach.OWN),
    "GET /schemas": Allowed(_ALL, Reach.CUT),
    "GET /schemas/types": Allowed(_ALL, Reach.FREE),
    "GET /schemas/ids/{id}": Allowed(_ALL, Reach.CUT),
    "GET /schemas/ids/{id}/schema": Allowed(_ALL, Reach.CUT),
    "GET /schemas/ids/{id}/subjects": Allowed(_ALL, Reach.CUT),
    "GET /schemas/ids/{id}/versions": Allowed(_ALL, Reach.CUT),
    "GET /schemas/guids/{guid}": Allowed(_ALL, Reach.CUT),
    "GET /schemas/guids/{guid}/ids": Allowed(_ALL, Reach.CUT),
    "POST /compatibility/subjects/{subject}/versions": Allowed(_STAFF, Reach.OWN),
    "POST /compatibility/subjects/{subject}/versions/{version}": Allowed(_STAFF, Reach.OWN),
    "GET /config": Allowed(_ALL, Reach.FREE),
    "PUT /config": Allowed(_ADMINS, Reach.CITY),
    "DELETE /config": Allowed(_ADMINS, Reach.CITY),
    "GET /config/{subject}": Allowed(_ALL, Reach.OWN),
    "PUT /config/{subject}": Allowed(_STEWARDS, Reach.OWN),
    "DELETE /config/{subject}": Allowed(_STEWARDS, Reach.OWN),
    "GET /mode": Allowed(_ALL, Reach.FREE),
    "PUT /mode": Allowed(_OPERATORS, Reach.CITY),
    "DELETE /mode": Allowed(_OPERATORS, Reach.CITY),
    "GET /mode/{subject}": Allowed(_ALL, Reach.OWN),
    "PUT /mode/{subject}": Allowed(_OPERATORS, Reach.OWN),
    "DELETE /mode/{subject}": Allowed(_OPERATORS, Reach.OWN),
    "GET /contexts": Allowed(_STAFF, Reach.CITY),
    "GET /associations/resources/{namespace}/{name}": Allowed(_ALL, Reach.FREE),  # an empty list, whatever is asked
}
_CONSOLE = {
    "GET /login": Allowed(_ALL, Reach.ANYBODY),
    "POST /login": Allowed(_ALL, Reach.ANYBODY),
    "POST /logout": Allowed(_ALL, Reach.ANYBODY),
    "POST /preferences": Allowed(_ALL, Reach.ANYBODY),  # language and theme, kept in the browser
    "GET /static/{name}": Allowed(_ALL, Reach.ANYBODY),
    "GET /": Allowed(_STAFF, Reach.CUT),
    "GET /live": Allowed(_STAFF, Reach.CUT),
    "GET /catalogue": Allowed(_ALL, Reach.CUT),  # what there is, is for all; who has it and how it looks, for its own
    "GET /catalogue/{feed}": Allowed(_ALL, Reach.CUT),
    "GET /grants": Allowed(_ALL, Reach.CUT),
    "GET /grants/new": Allowed(_ASKERS, Reach.CUT),
    "POST /grants/new": Allowed(_ASKERS, Reach.CUT),  # for a subscriber of the caller's
    "GET /grants/{grant}": Allowed(_ALL, Reach.CUT),
    "GET /grants/{grant}/preview": Allowed(_ASKERS, Reach.CUT),
    "POST /grants/{grant}/approve": Allowed(_STEWARDS, Reach.OWN),  # its provider's; compliance is for who has all
    "POST /grants/{grant}/refuse": Allowed(_STEWARDS, Reach.OWN),
    "POST /grants/{grant}/suspend": Allowed(_STEWARDS, Reach.OWN),
    "POST /grants/{grant}/resume": Allowed(_STEWARDS, Reach.OWN),
    "POST /grants/{grant}/revoke": Allowed(_STEWARDS, Reach.OWN),
    "GET /subscriptions": Allowed(_ALL, Reach.CUT),
    "GET /subscriptions/{name}": Allowed(_ALL, Reach.OWN),
    "GET /subscriptions/{name}/kit": Allowed(_ALL, Reach.OWN),  # programs and addresses: no row, no secret
    "POST /subscriptions/{name}/pause": Allowed(_KEEPERS, Reach.OWN),  # of their subscriber's
    "POST /subscriptions/{name}/resume": Allowed(_KEEPERS, Reach.OWN),
    "POST /subscriptions/{name}/test": Allowed(_KEEPERS, Reach.OWN),
    "POST /subscriptions/{name}/replay": Allowed(_KEEPERS, Reach.OWN),
    "POST /subscriptions/{name}/retry": Allowed(_KEEPERS, Reach.OWN),
    "POST /subscriptions/{name}/drop": Allowed(_KEEPERS, Reach.OWN),
    "POST /subscriptions/{name}/rotate": Allowed(_KEEPERS, Reach.OWN),
    "GET /cases": Allowed(_STAFF, Reach.CUT),
    "GET /cases/{system}": Allowed(_STAFF, Reach.OWN),  # of the agency that the system's feeds are of
    "GET /cases/{system}/boards/{feed}": Allowed(_STAFF, Reach.OWN),
    "GET /cases/{system}/queue": Allowed(_STAFF, Reach.OWN),
    "GET /cases/{system}/queue/{item}": Allowed(_STAFF, Reach.OWN),
    "POST /cases/{system}/find/{feed}": Allowed(_STAFF, Reach.OWN),
    "POST /cases/{system}/queue/{item}/reveal": Allowed(_STEWARDS, Reach.OWN),
    "POST /cases/{system}/queue/{item}/decide": Allowed(_STEWARDS, Reach.OWN),
    "POST /cases/{system}/queue/{item}/undo": Allowed(_STEWARDS, Reach.OWN),
    "POST /cases/{system}/group": Allowed(_STEWARDS, Reach.OWN),
    "GET /cases/{system}/runs/{run}": Allowed(_STEWARDS, Reach.OWN),  # of whoever began it
    "POST /cases/{system}/runs/{run}": Allowed(_STEWARDS, Reach.OWN),
    "POST /cases/{system}/runs/{run}/undo": Allowed(_STEWARDS, Reach.OWN),
    "GET /onboarding": Allowed(_STEWARDS, Reach.CUT),
    "POST /onboarding": Allowed(_STEWARDS, Reach.CUT),  # of an agency of theirs
    "GET /status": Allowed(_STAFF, Reach.CUT),
    "GET /health": Allowed(_STAFF, Reach.CUT),
    "GET /health/{kind}/{name}": Allowed(_STAFF, Reach.CUT),
}
_OPENDATA = {  # what the flow published is for everybody, and nothing else is served
    "GET /": Allowed(_ALL, Reach.ANYBODY),
    "GET /datasets": Allowed(_ALL, Reach.ANYBODY),
    "GET /datasets/{code}": Allowed(_ALL, Reach.ANYBODY),
    "GET /datasets/{code}/rows": Allowed(_ALL, Reach.ANYBODY),
    "GET /datasets/{code}/download": Allowed(_ALL, Reach.ANYBODY),
    "GET /datasets/{code}/changes.atom": Allowed(_ALL, Reach.ANYBODY),
    "GET /datasets/{code}/sample": Allowed(_ALL, Reach.ANYBODY),
    "GET /datasets/{code}/statistics": Allowed(_ALL, Reach.ANYBODY),
    "GET /datasets/{code}/relations": Allowed(_ALL, Reach.ANYBODY),
    "GET /datasets/{code}/heat": Allowed(_ALL, Reach.ANYBODY),
    "GET /relations": Allowed(_ALL, Reach.ANYBODY),
    "GET /catalogue.jsonld": Allowed(_ALL, Reach.ANYBODY),
    "GET /changes.atom": Allowed(_ALL, Reach.ANYBODY),
    "GET /openapi.json": Allowed(_ALL, Reach.ANYBODY),
    "GET /static/{name}": Allowed(_ALL, Reach.ANYBODY),
    "GET /portal/datasets": Allowed(_ALL, Reach.ANYBODY),
    "GET /portal/datasets/{code}": Allowed(_ALL, Reach.ANYBODY),
    "GET /portal/datasets/{code}/rows": Allowed(_ALL, Reach.ANYBODY),
    "GET /portal/datasets/{code}/sample": Allowed(_ALL, Reach.ANYBODY),
    "GET /portal/businesses": Allowed(_ALL, Reach.ANYBODY),
    "GET /portal/licences": Allowed(_ALL, Reach.ANYBODY),
    "GET /portal/api": Allowed(_ALL, Reach.ANYBODY),
    "GET /portal/preferences": Allowed(_ALL, Reach.ANYBODY),
    "GET /portal{rest}": Allowed(_ALL, Reach.ANYBODY),
    "GET /health": Allowed(_ALL, Reach.FREE),
}
_METRICS = {
    "GET /metrics": Allowed(_WATCHERS, Reach.CITY),
    "GET /recent": Allowed(_WATCHERS, Reach.CITY),
}
_LIVE = {
    "GET /v1/stream": Allowed(_SUBSCRIBERS, Reach.OWN),
    "GET /v1/changes": Allowed(_SUBSCRIBERS, Reach.OWN),
    "POST /v1/ack": Allowed(_SUBSCRIBERS, Reach.OWN),
}
_PUSH = {
    "POST /v1/feeds/{feed}/rows": Allowed(_PROVIDERS, Reach.OWN),  # a script's token opens nothing else
}
TABLE: Mapping[str, Mapping[str, Allowed]] = MappingProxyType(
    {
        "registry": _REGISTRY,
        "console": _CONSOLE,
        "opendata": _OPENDATA,
        "metrics": _METRICS,
        "live": _LIVE,
        "push": _PUSH,
    }
)
"""By server, then by endpoint."""


def is_anybody_s(server: str, endpoint: str) -> bool:
    """Whether an endpoint is open to who has not proved who they are."""
    allowed = TABLE[server].get(endpoint)
    return allowed is not None and allowed.reach is Reach.ANYBODY


def may(server: str, endpoint: str, caller: Caller, owner: str) -> Remit | Shut:
    """The agencies that a caller may touch there, or why none. `owner`: the agency of what the address names."""
    allowed = TABLE[server].get(endpoint)
    if allowed is None:
        return Shut(403, "this endpoint is open to nobody", "it is not in schemas/guard/table.py")
    remit = caller.remit(allowed.roles)
    if remit is None:
        roles = ", ".join(sorted(allowed.roles))
        return Shut(403, "this is not for your role", f"it is for {roles}: ask an admin for a token of one of them")
    if allowed.reach is Reach.CITY and not remit.is_all:
        return Shut(403, "this is of all agencies", "ask an admin for a token with --all-agencies")
    if allowed.reach is Reach.OWN and not remit.holds(owner):
        return Shut(403, "this is of an agency that your token is not for", "ask an admin for a token of that agency")
    return remit
