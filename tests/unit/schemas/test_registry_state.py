"""The registry without its topic: whatever is sent is either kept as it was meant or refused with a code."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.registry.candidate import asked_of, read_candidate
from schemas.registry.record import mode_entry, parse, schema_entry
from schemas.registry.refusal import ErrorCode, Refusal
from schemas.registry.service import Service
from schemas.registry.state import RegistryState

WORDS = [
    "type",
    "name",
    "namespace",
    "fields",
    "items",
    "values",
    "symbols",
    "size",
    "default",
    "logicalType",
    "precision",
]
VALUES = ["record", "enum", "fixed", "array", "map", "int", "string", "null", "decimal", "bytes", "R", "gz.R", ""]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(VALUES),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=30,
)


def read(body, *, is_normalised=False):
    """A candidate, or the code with which it is refused."""
    try:
        return read_candidate(asked_of(body), [], is_normalised=is_normalised)
    except Refusal as refusal:
        return refusal.code


@given(json_values, st.booleans())
def test_any_json_is_a_schema_or_a_refusal(value, is_normalised):
    candidate = read({"schema": json.dumps(value)}, is_normalised=is_normalised)
    if candidate is not ErrorCode.INVALID_SCHEMA:
        assert read({"schema": candidate.text}, is_normalised=is_normalised).text == candidate.text


@given(json_values)
def test_any_json_is_a_request_or_a_refusal(body):
    assert read(body) is ErrorCode.INVALID_SCHEMA


@given(json_values, json_values)
def test_any_record_is_taken_or_called_corrupt(key, value):
    state = RegistryState()
    with suppress(ValueError):
        state.apply(json.dumps(key).encode(), json.dumps(value).encode())
    assert state.subjects == {}


def service():
    """A service whose records come back at once."""
    state = RegistryState()
    records = []

    async def append(entries):
        for entry in entries:
            records.append(entry)
            state.apply(entry.key, entry.value)

    return Service(state, append), records


def register(on, subject, schema, **options):
    body = {"schema": json.dumps(schema), **options}
    return asyncio.run(on.register(subject, body, is_normalised=False))


def test_keys_are_in_the_order_that_compaction_needs():
    assert schema_entry("s", 1, None).key == b'{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}'
    assert mode_entry(None, "IMPORT").key == b'{"keytype":"MODE","subject":null,"magic":0}'
    assert parse(schema_entry("企业", 1, {"id": 1}).key)["subject"] == "企业"


def test_replaying_what_was_written_gives_the_same_state():
    on, records = service()
    register(on, "a", "string")
    register(on, "b", "string")
    register(on, "b", ["null", "string"])
    asyncio.run(on.delete_version("b", "1", is_permanent=False))
    asyncio.run(on.delete_version("b", "1", is_permanent=True))
    asyncio.run(on.set_config("b", {"compatibility": "full", "compatibilityGroup": "g"}))
    written = len(records)
    asyncio.run(on.set_config("b", {"compatibility": "FULL", "compatibilityGroup": "g"}))
    assert len(records) == written, "what is set already is not written again"
    again = RegistryState()
    for record in records:
        again.apply(record.key, record.value)
    assert (again.subjects, again.configs, again.id_max) == (on.state.subjects, on.state.configs, on.state.id_max)


def test_erased_id_is_not_given_again_even_after_compaction():
    on, records = service()
    register(on, "a", "string")
    last = register(on, "a", ["null", "string"]).id
    asyncio.run(on.delete_subject("a", is_permanent=False))
    asyncio.run(on.delete_subject("a", is_permanent=True))
    compacted = {record.key: record.value for record in records}
    again = RegistryState()
    for key, value in compacted.items():
        if value is not None:
            again.apply(key, value)
    assert again.subjects == {}
    assert again.id_max == last


def test_import_mode_takes_ids_and_versions_as_given():
    on, _ = service()
    asyncio.run(on.set_mode("a", {"mode": "import"}, is_forced=False))
    version = register(on, "a", "string", id=70, version=3)
    assert (version.id, version.version) == (70, 3)
    assert register(on, "a", "string", id=70, version=3) == version
    with pytest.raises(Refusal) as other_schema:
        register(on, "a", "long", id=70, version=4)
    with pytest.raises(Refusal) as same_version:
        register(on, "a", "long", id=71, version=3)
    assert {other_schema.value.code, same_version.value.code} == {ErrorCode.NOT_PERMITTED}
    assert register(on, "b", "long").id == 71


def test_failed_append_changes_nothing():
    state = RegistryState()

    async def append(_entries):
        raise Refusal(ErrorCode.TIMEOUT, "no")

    with pytest.raises(Refusal):
        register(Service(state, append), "a", "string")
    assert state.subjects == {}
