"""A subscriber's login on Kafka, and how it ends: the user and every right that it has or is denied."""

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
from schemas.log.kafka import Kafka

_IS_GONE = frozenset({KafkaError.RESOURCE_NOT_FOUND, KafkaError.SECURITY_DISABLED})


def remove_login(kafka: Kafka, user: str) -> None:
    """Remove the user and its rights. Changes nothing twice. Raises Transient."""
    admin = admin_client(kafka)
    anything: Any = None
    every = AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        f"User:{user}",
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    # Rights first: they are looked at with each request, a password only when somebody connects.
    _done(user, admin.delete_acls([every], request_timeout=WITHIN_SECONDS).values())
    deletion = UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
    _done(user, admin.alter_user_scram_credentials([deletion], request_timeout=WITHIN_SECONDS).values())


def _done(user: str, futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() not in _IS_GONE:
                problem = f"login of {user}: {error.args[0].str()}"
                raise Transient(problem, fix="start Kafka, or let the mesh's login alter users and rights") from error
