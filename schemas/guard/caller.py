"""Caller: whoever a request comes from, with what they are and for which agencies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

ALL = "*"
"""In the place of an agency's code: all of them, and what is no agency's."""
_CONTEXT = re.compile(r"^:\.[^:]*:")


class Role(StrEnum):
    """What somebody is to the mesh. None contains another: the table names each where it may do something."""

    VIEWER = "viewer"
    SUBSCRIBER = "subscriber"
    PROVIDER = "provider"
    STEWARD = "steward"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Remit:
    """Agencies, or subscribers, by code."""

    agencies: frozenset[str]

    @property
    def is_all(self) -> bool:
        """Whether it is everything."""
        return ALL in self.agencies

    def holds(self, agency: str) -> bool:
        """Whether what is this agency's is within; `""` is what is no agency's."""
        return self.is_all or (bool(agency) and agency in self.agencies)


EVERYTHING = Remit(frozenset({ALL}))
NOTHING = Remit(frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One role, for these agencies."""

    role: Role
    agencies: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who proved who they are. `name` may stand in the audit; the proof is of `since` and expires at `until`, epoch seconds.

    `is_limited`: so many requests a second; the mesh's own processes are not.
    """

    name: str
    rights: tuple[Right, ...]
    since: float = 0.0
    until: float = float("inf")
    is_limited: bool = True

    def remit(self, roles: Iterable[Role]) -> Remit | None:
        """The agencies for which the caller has one of these roles; None where it has none of them."""
        wanted = frozenset(roles)
        found = [right.agencies for right in self.rights if right.role in wanted]
        return Remit(frozenset[str]().union(*found)) if found else None


EVERYBODY = Caller(
    name="everybody on this machine",
    rights=tuple(Right(role=role, agencies=EVERYTHING.agencies) for role in Role),
    is_limited=False,
)
"""Whoever asks where authentication is off."""
NOBODY = Caller(name="nobody known", rights=())
"""Whoever asks for what is open to anybody, as the page by which one enters."""


def agency_of(subject: str) -> str:
    """Whose a topic, or a subject of the registry, is: the agency's of its feed, or the subscriber's of an `out` topic.

    Empty for what has no such part in its name.
    """
    name = _CONTEXT.sub("", subject, count=1).removeprefix("dlq.").removeprefix("out.")
    agency, dot, _ = name.partition(".")
    return agency if dot else ""
