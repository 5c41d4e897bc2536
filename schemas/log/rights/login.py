"""A subscriber's login on Kafka, and how it ends: the user, every right that it has or is denied, and its consumer groups."""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramMechanism,
    UserScramCredentialDeletion,
)

from schemas.errors import Transient
from schemas.log.admin import WITHIN_SECONDS, admin_client
from schemas.log.entering import AWAY
from schemas.log.kafka import Kafka

_IS_GONE = frozenset({KafkaError.RESOURCE_NOT_FOUND, KafkaError.SECURITY_DISABLED})


def every_right(user: str) -> AclBindingFilter:
    """All rights of a user, whatever they are on."""
    anything: Any = None
    return AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        f"User:{user}",
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def remove_login(kafka: Kafka, user: str) -> None:
    """Remove the user and its rights. Changes nothing twice. Raises Transient."""
    admin, every = admin_client(kafka), every_right(user)
    # Rights first: they are looked at with each request, a password only when somebody connects.
    _done(user, admin.delete_acls([every], request_timeout=WITHIN_SECONDS).values())
    deletion = UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
    _done(user, admin.alter_user_scram_credentials([deletion], request_timeout=WITHIN_SECONDS).values())


def remove_groups(kafka: Kafka, group: str) -> None:
    """Remove the consumer group, and those beside it `<group>.…`, with what they confirmed. Raises Transient while one has members.

    A member whose rights are gone is none any more once its session is over.
    """
    admin = admin_client(kafka)
    try:
        known = [each.group_id for each in admin.list_consumer_groups(request_timeout=WITHIN_SECONDS).result().valid]
        named = [each for each in known if each == group or each.startswith(f"{group}.")]
        futures = admin.delete_consumer_groups(named, request_timeout=WITHIN_SECONDS) if named else {}
    except KafkaException as error:
        raise Transient(f"groups {group}: {error.args[0].str()}", fix=AWAY) from error
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise Transient(f"group {name}: {error.args[0].str()}", fix="it is tried again by itself") from error


def _done(user: str, futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() not in _IS_GONE:
                problem = f"login of {user}: {error.args[0].str()}"
                raise Transient(problem, fix="start Kafka, or let the mesh's login alter users and rights") from error
