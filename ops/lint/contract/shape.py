"""Shape: what must hold before a file can be read as a contract at all: a sound Avro record, with a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.known_names import did_you_mean
from ops.lint.inspected import Inspected
from ops.lint.located import Path
from schemas.wire.fault import faults


class ShapeLint:
    """The record of one file as it is written."""

    def __init__(self, file: Inspected) -> None:
        self._file = file

    def run(self) -> None:
        """What Avro says first, and the rest where Avro has nothing to say."""
        record = self._file.located.value
        self._faults(record)
        if not self._file.has_errors:
            self._shape(record)

    def _faults(self, record: Any) -> None:
        if not isinstance(record, Mapping):
            self._file.error((), "", "is no Avro record", 'write {"type": "record", "name": …, "fields": […]}')
            return
        for fault in faults(record):
            self._file.error(fault.path, self._field_at(fault.path), fault.message, fault.fix)

    def _shape(self, record: Mapping[str, Any]) -> None:
        if record.get("type") != "record" or not record.get("fields"):
            fix = 'write {"type": "record", "name": …, "fields": […]}'
            self._file.error(("type",), "", "is no Avro record with fields", fix)
            return
        gov = record.get("gov")
        if gov is not None and not isinstance(gov, Mapping):
            self._file.error(("gov",), "", "gov is no object", 'write "gov": {"key": […], "class": …}')
            return
        self._key(record, gov or {})
        for index, field in enumerate(record["fields"]):
            if field["type"] in ("null", ["null"]):
                fix = 'give it a type: ["null", "string"]'
                self._file.error(("fields", index, "type"), field["name"], "can only be null", fix)
            tags = field.get("confluent:tags", [])
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                at = ("fields", index, "confluent:tags")
                self._file.error(at, field["name"], "confluent:tags is no list of texts", 'write ["PII", "L3"]')
            if not isinstance(field.get("gov", {}), Mapping):
                at = ("fields", index, "gov")
                self._file.error(at, field["name"], "gov is no object", 'write "gov": {"class": …, "basis": …}')
            if not isinstance(field.get("doc", ""), str):
                self._file.error(("fields", index, "doc"), field["name"], "doc is no text", "write a text")

    def _key(self, record: Mapping[str, Any], gov: Mapping[str, Any]) -> None:
        names = [field["name"] for field in record["fields"]]
        key = gov.get("key")
        if not isinstance(key, list) or not key:
            fix = 'add to the record: "gov": {"key": ["<column>", …]}, the columns that make a row unique'
            self._file.error(("gov",), "", "names no key: updates and deletes could not be told apart", fix)
            return
        for index, name in enumerate(key):
            if name not in names:
                fix = did_you_mean(str(name), names)
                self._file.error(("gov", "key", index), str(name), "is a key column but no field", fix)
        if len(set(map(str, key))) != len(key):
            self._file.error(("gov", "key"), "", "the key names a column twice", "name it once")

    def _field_at(self, path: Path) -> str:
        if len(path) < 2 or path[0] != "fields":
            return ""
        try:
            return str(self._file.located.value["fields"][path[1]].get("name", ""))
        except (KeyError, IndexError, TypeError, AttributeError):
            return ""
