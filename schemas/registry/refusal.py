"""Refusal: what the REST interface answers when it cannot do what was asked.

Never a 5xx for a client's mistake: clients retry those (SR-06).
"""

from __future__ import annotations

from enum import IntEnum

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class ErrorCode(IntEnum):
    """Confluent's error codes; the first three digits are the HTTP status."""

    SUBJECT_NOT_FOUND = 40401
    VERSION_NOT_FOUND = 40402
    SCHEMA_NOT_FOUND = 40403
    SUBJECT_SOFT_DELETED = 40404
    SUBJECT_NOT_SOFT_DELETED = 40405
    VERSION_SOFT_DELETED = 40406
    VERSION_NOT_SOFT_DELETED = 40407
    NO_SUBJECT_CONFIG = 40408
    NO_SUBJECT_MODE = 40409
    INCOMPATIBLE = 409
    INVALID_SCHEMA = 42201
    INVALID_VERSION = 42202
    INVALID_LEVEL = 42203
    INVALID_MODE = 42204
    NOT_PERMITTED = 42205
    REFERENCE_EXISTS = 42206
    INVALID_SUBJECT = 42208
    STORE = 50001
    TIMEOUT = 50002
    FORWARDING = 50003


class Refusal(Exception):
    """An answer with an error code and a message for people."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.code) if self.code < 1000 else self.code // 100
