"""The records of the registry's topic, in Confluent's format, so that their tools read ours and ours reads theirs.

Key and value are JSON. The order of a key's attributes is part of it: compaction compares bytes (SR-03).

| keytype        | key                                       | value                                                       |
|----------------|-------------------------------------------|-------------------------------------------------------------|
| SCHEMA         | `{keytype, subject, version, magic: 1}`   | `{subject, version, id, schema, deleted, …}`, or a tombstone |
| CONFIG         | `{keytype, subject or null, magic: 0}`    | `{subject, compatibilityLevel, …}`, or a tombstone           |
| MODE           | the same                                  | `{subject, mode}`, or a tombstone                           |
| DELETE_SUBJECT | `{keytype, subject, magic: 0}`            | `{subject, version}`: all up to that version are deleted     |
| CLEAR_SUBJECT  | the same                                  | `{subject}`: nothing of it is left                          |
| NOOP           | `{keytype, magic: 0}`                     | ours: `{maxId}`, the highest id ever given; others ignore it  |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class EncodedRecord(NamedTuple):
    """One record, encoded; a value of None is a tombstone."""

    key: bytes
    value: bytes | None


def schema_entry(subject: str, version: int, value: Mapping[str, Any] | None) -> EncodedRecord:
    """A version of a subject."""
    return _entry({"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1}, value)


def config_entry(subject: str | None, config: Mapping[str, Any] | None) -> EncodedRecord:
    """The configuration of a subject, or of everything (subject None)."""
    value = None if config is None else {"subject": subject, **config}
    return _entry({"keytype": "CONFIG", "subject": subject, "magic": 0}, value)


def mode_entry(subject: str | None, mode: str | None) -> EncodedRecord:
    """The mode of a subject, or of everything."""
    value = None if mode is None else {"subject": subject, "mode": mode}
    return _entry({"keytype": "MODE", "subject": subject, "magic": 0}, value)


def id_entry(id_max: int) -> EncodedRecord:
    """The highest id ever given, so that it is not given again after its last version was erased."""
    return _entry({"keytype": "NOOP", "magic": 0}, {"maxId": id_max})


def parse(data: bytes) -> dict[str, Any]:
    """A key or value as an object. Raises ValueError on anything else."""
    try:
        parsed = json.loads(data)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if not isinstance(parsed, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - the caller asks one question: readable or not
    return parsed


def _entry(key: Mapping[str, Any], value: Mapping[str, Any] | None) -> EncodedRecord:
    return EncodedRecord(_encoded(key), None if value is None else _encoded(value))


def _encoded(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
