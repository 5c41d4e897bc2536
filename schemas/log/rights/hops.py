"""Rights of the mesh's own processes on Kafka: each hop's, and what follows for everybody else (default deny, invariant 6).

| hop        | reads                   | writes                                                          |
|------------|-------------------------|-----------------------------------------------------------------|
| `registry` | its own topic, control topics | its own topic, which it makes                                     |
| `capture`  | every topic             | feeds, dead letters, `mesh.capture`, slots given back, incidents, ledger |
| `streams`  | every topic             | `out.…`, dead letters and their fate, `mesh.egress`, corrections, incidents, ledger |
| `flows`    | every topic             | feeds, dead letters, the flows' own topics, incidents             |
| `delivery` | `out.…`, `ends.…`, control topics | dead letters, `ends.…`, endings, logins, incidents, ledger; subscribers' rights |
| `console`  | every topic             | incidents, ledger                                               |
| `opendata` | every topic             | incidents                                                       |

All but flows also write the audit, with what they did or whom they refused, in transactions under the one id of all its writers
(ops/audit/audited_log.py). Commands act as a user who may do everything: only they write what is onboarded and granted. No hop
can: feeds have any name, so whoever writes feeds is denied the control topics one by one.
"""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from schemas.feed import (
    AUDIT,
    CAPTURE,
    CONTROL,
    DELIVERED,
    EGRESS,
    ENDINGS,
    FLOW_INBOX,
    FLOW_INTAKE,
    FLOW_STATE,
    INCIDENTS,
    LEDGER,
    LETTERS,
    LOGINS,
    OBJECTIONS,
    OFFBOARDED,
    REGISTRY,
    REPLAYS,
    STANDSTILLS,
    SUBSCRIBERS,
)
from schemas.log.admin import WITHIN_SECONDS, admin_client
from schemas.log.kafka import Kafka
from schemas.log.rights.access import Access, outcome

ALL = "*"
OWN = (*CONTROL, FLOW_INBOX, FLOW_STATE, REGISTRY)
"""The topics that are no feed, by name; beside them there are `out.…` and `dlq.…`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HopRights:
    """What one hop may do. Names that end with a dot are beginnings of names; ALL is every topic."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    groups: tuple[str, ...] = ("mesh.",)
    removes_groups: tuple[str, ...] = ()
    transactions: tuple[str, ...] = ()
    creates: tuple[str, ...] = ()
    alters_rights: bool = False


HOPS: Mapping[str, HopRights] = {
    "registry": HopRights(
        reads=(REGISTRY, "mesh."),
        writes=(REGISTRY, AUDIT),
        groups=(f"{REGISTRY}.reader",),
        transactions=(f"{REGISTRY}.writer", AUDIT),
        creates=(REGISTRY,),
    ),
    "capture": HopRights(
        reads=(ALL,), writes=(ALL, CAPTURE, INCIDENTS, OFFBOARDED, LEDGER, AUDIT), transactions=(AUDIT,)
    ),
    "streams": HopRights(
        reads=(ALL,),
        writes=("out.", "dlq.", EGRESS, LETTERS, INCIDENTS, LEDGER, OBJECTIONS, AUDIT),
        transactions=(AUDIT,),
    ),
    "flows": HopRights(
        reads=(ALL,),
        writes=(ALL, FLOW_INBOX, FLOW_STATE, FLOW_INTAKE, INCIDENTS),
        transactions=(f"{FLOW_INBOX}-",),
        creates=(FLOW_INBOX, FLOW_STATE),
    ),
    "delivery": HopRights(
        reads=("out.", "ends.", "mesh."),
        writes=(
            "dlq.",
            "ends.",
            INCIDENTS,
            REPLAYS,
            STANDSTILLS,
            ENDINGS,
            OFFBOARDED,
            SUBSCRIBERS,
            LOGINS,
            DELIVERED,
            LEDGER,
            AUDIT,
        ),
        groups=("mesh.", "sub."),
        removes_groups=("sub.",),
        transactions=(AUDIT,),
        alters_rights=True,
    ),
    "console": HopRights(reads=(ALL,), writes=(INCIDENTS, LEDGER, AUDIT), groups=(), transactions=(AUDIT,)),
    "opendata": HopRights(reads=(ALL,), writes=(INCIDENTS, AUDIT), transactions=(AUDIT,)),
}


def give_rights(kafka: Kafka, users: Mapping[str, str]) -> Access:
    """Give each hop, under its user's name, what it may do. Safe to repeat. Raises Transient, Misconfigured."""
    bindings = [binding for hop, user in users.items() for binding in _bindings(HOPS[hop], f"User:{user}")]
    admin = admin_client(kafka)
    return outcome(admin.create_acls(bindings, request_timeout=WITHIN_SECONDS).values(), "the hops' rights")


def _bindings(rights: HopRights, principal: str) -> Iterator[AclBinding]:
    topic, group, transaction = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
    allowed = [
        (topic, rights.reads, (AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)),
        (topic, (ALL,), (AclOperation.DESCRIBE,)),
        (topic, rights.writes, (AclOperation.WRITE,)),
        (topic, rights.creates, (AclOperation.CREATE,)),
        (group, rights.groups, (AclOperation.READ,)),
        (group, rights.removes_groups, (AclOperation.DELETE,)),
        (group, (ALL,), (AclOperation.DESCRIBE,)),
        (transaction, rights.transactions, (AclOperation.WRITE, AclOperation.DESCRIBE)),
    ]
    for kind, names, operations in allowed:
        for name in names:
            for operation in operations:
                yield _binding(kind, name, principal, operation, AclPermissionType.ALLOW)
    if rights.alters_rights:
        yield _binding(ResourceType.BROKER, "kafka-cluster", principal, AclOperation.ALTER, AclPermissionType.ALLOW)
    if ALL in rights.writes:
        for name in ("out.", "ends.", *sorted(set(OWN) - set(rights.writes))):
            yield _binding(topic, name, principal, AclOperation.WRITE, AclPermissionType.DENY)


def _binding(kind: Any, name: str, principal: str, operation: Any, permission: Any) -> AclBinding:
    is_prefix = name.endswith((".", "-"))
    pattern = ResourcePatternType.PREFIXED if is_prefix else ResourcePatternType.LITERAL
    return AclBinding(kind, name, pattern, principal, "*", operation, permission)
