"""Access: what a subscriber or an agency may read and write on Kafka, and the users by which they log in."""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from schemas.errors import Misconfigured
from schemas.log.admin import WITHIN_SECONDS, admin_client, results, unwell
from schemas.log.kafka import Kafka

_NO_AUTHORIZER = (
    "Kafka has no authorizer, so {what} was not restricted: every client may read and write every topic; "
    "start the brokers with authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer and onboard again"
)


_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The outcome of a request about rights: `is_enforced`, or else a `notice` for the operator."""

    is_enforced: bool
    notice: str = ""


def allow_read(
    kafka: Kafka, user: str, topics: Iterable[str], group_prefix: str, own_groups: Iterable[str] = ()
) -> Access:
    """Let a user read exactly these topics, and join consumer groups whose name starts with the prefix (`sub.<user>.`).

    But for `own_groups`, by which the mesh itself delivers to that user: who joined one would take partitions, and changes, away.
    """
    rights = [(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, AclOperation.READ) for topic in topics]
    if not group_prefix.endswith("."):
        raise Misconfigured(group_prefix, "would also match longer names", fix=f"end it with a dot: {group_prefix}.")
    denied = [
        AclBinding(
            ResourceType.GROUP,
            group,
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation.ALL,
            AclPermissionType.DENY,
        )
        for group in own_groups
    ]
    if denied and _USER.fullmatch(user):  # first: a right must not be there before its bounds are
        admin = admin_client(kafka)
        outcome(admin.create_acls(denied, request_timeout=WITHIN_SECONDS).values(), f"groups of {user}")
    rights.append((ResourceType.GROUP, group_prefix, ResourcePatternType.PREFIXED, AclOperation.READ))
    return _allow(kafka, user, rights, f"reading by {user}")


def allow_own(kafka: Kafka, user: str, group: str, topics: Iterable[str]) -> Access:
    """Let a user read exactly these topics, in the group that says what it confirmed, or in groups `<group>.…` beside it."""
    rights = [(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, AclOperation.READ) for topic in topics]
    rights.append((ResourceType.GROUP, group, ResourcePatternType.LITERAL, AclOperation.READ))
    rights.append((ResourceType.GROUP, f"{group}.", ResourcePatternType.PREFIXED, AclOperation.READ))
    return _allow(kafka, user, rights, f"reading by {user}")


def withdraw_read(kafka: Kafka, user: str, topics: Iterable[str]) -> Access:
    """Take the right to read these topics away, when a grant ends. Safe to repeat."""
    filters = [
        AclBindingFilter(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation.READ,
            AclPermissionType.ALLOW,
        )
        for topic in topics
    ]
    admin = admin_client(kafka)
    return outcome(admin.delete_acls(filters, request_timeout=WITHIN_SECONDS).values(), f"reading by {user}")


def allow_write(kafka: Kafka, user: str, topic_prefix: str) -> Access:
    """Let a user write to topics whose name starts with the prefix (`<agency>.`), idempotently."""
    if not topic_prefix.endswith("."):
        raise Misconfigured(topic_prefix, "would also match longer names", fix=f"end it with a dot: {topic_prefix}.")
    right = (ResourceType.TOPIC, topic_prefix, ResourcePatternType.PREFIXED, AclOperation.WRITE)
    return _allow(kafka, user, [right], f"writing to {topic_prefix}")


def create_scram_user(kafka: Kafka, user: str, password: str, *, iterations: int = 8192) -> None:
    """Create a SCRAM-SHA-512 user, or give an existing one a new password. Raises Misconfigured for an unfit name."""
    if not _USER.fullmatch(user):
        raise Misconfigured(f"user {user!r}", "is no user name", fix="use letters, digits, '.', '_' and '-'")
    if len(password) < 16:
        raise Misconfigured(f"user {user}", "has too short a password", fix="generate one of 16 characters or more")
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, iterations)
    change = UserScramCredentialUpsertion(user, credential, password.encode())
    admin = admin_client(kafka)
    results(admin.alter_user_scram_credentials([change], request_timeout=WITHIN_SECONDS))


def _allow(kafka: Kafka, user: str, rights: Iterable[tuple[Any, str, Any, Any]], what: str) -> Access:
    if not _USER.fullmatch(user):
        raise Misconfigured(f"user {user!r}", "is no user name", fix="use letters, digits, '.', '_' and '-'")
    bindings = [
        AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for kind, name, pattern, operation in rights
    ]
    admin = admin_client(kafka)
    return outcome(admin.create_acls(bindings, request_timeout=WITHIN_SECONDS).values(), what)


def outcome(futures: Iterable[Future[Any]], what: str) -> Access:
    """Wait for what was asked about rights. Raises Transient, Misconfigured."""
    for future in futures:
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.SECURITY_DISABLED:
                return Access(is_enforced=False, notice=_NO_AUTHORIZER.format(what=what))
            raise unwell(error, what) from error
    return Access(is_enforced=True)
