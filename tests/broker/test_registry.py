"""The registry, spoken to by confluent-kafka's own client, serializer and deserializer (SR-06)."""

from __future__ import annotations

import json

import pytest
from confluent_kafka.schema_registry import (
    Metadata,
    MetadataProperties,
    Rule,
    RuleKind,
    RuleMode,
    RuleSet,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    SchemaRegistryError,
    ServerConfig,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.common.schema_registry_client import ConfigCompatibilityLevel
from confluent_kafka.serialization import MessageField, SerializationContext


@pytest.fixture
def client(registry):
    with SchemaRegistryClient({"url": registry}) as client:
        yield client


def record(*fields, name="Enterprise", **attributes):
    columns = [{"name": field, "type": "string"} if isinstance(field, str) else field for field in fields]
    return {"type": "record", "name": name, "namespace": "gz.aic", **attributes, "fields": columns}


def avro(*fields, **attributes):
    return Schema(json.dumps(record(*fields, **attributes), ensure_ascii=False), "AVRO")


OPTIONAL = {"name": "note", "type": ["null", "string"], "default": None}


def refused(call, *arguments, **options):
    with pytest.raises(SchemaRegistryError) as caught:
        call(*arguments, **options)
    return caught.value.http_status_code, caught.value.error_code


def test_same_text_has_one_id_in_every_subject_and_is_registered_once(client, unique):
    text = avro("id", name=f"R{unique}")
    first = client.register_schema(f"{unique}-a", text)
    client.clear_caches()
    assert client.register_schema(f"{unique}-a", text) == first
    spaced = Schema(json.dumps(record("id", name=f"R{unique}"), indent=3), "AVRO")
    assert client.register_schema(f"{unique}-b", spaced) == first
    assert client.register_schema(f"{unique}-b", avro("id", OPTIONAL, name=f"R{unique}")) != first
    assert client.get_versions(f"{unique}-a") == [1]
    assert client.get_versions(f"{unique}-b") == [1, 2]
    assert sorted(client.get_subjects_by_schema_id(first)) == [f"{unique}-a", f"{unique}-b"]
    assert [(v.subject, v.version) for v in client.get_schema_versions(first)] == [
        (f"{unique}-a", 1),
        (f"{unique}-b", 1),
    ]


def test_reads_give_back_what_was_registered(client, unique):
    schema = avro("id", doc="商事主体")
    registered = client.register_schema_full_response(unique, schema)
    client.clear_caches()
    assert json.loads(client.get_schema(registered.schema_id).schema_str) == json.loads(schema.schema_str)
    assert json.loads(client.get_schema(registered.schema_id, subject_name=unique).schema_str)["doc"] == "商事主体"
    latest = client.get_latest_version(unique)
    assert (latest.subject, latest.version, latest.schema_id) == (unique, 1, registered.schema_id)
    assert client.get_version(unique, 1).schema_id == registered.schema_id
    assert client.lookup_schema(unique, schema).version == 1
    assert latest.guid
    assert json.loads(client.get_schema_by_guid(latest.guid).schema_str) == json.loads(schema.schema_str)
    assert unique in client.get_subjects()
    assert client.get_subjects(subject_prefix=unique, limit=5) == [unique]
    assert client.get_schema_types() == ["AVRO"]
    assert "." in client.get_contexts()
    assert client.get_associations_by_resource_name(unique, "-") == []


def test_what_is_not_there_has_its_code(client, unique):
    assert refused(client.get_versions, unique) == (404, 40401)
    assert refused(client.get_latest_version, unique) == (404, 40401)
    assert refused(client.lookup_schema, unique, avro("id")) == (404, 40401)
    assert refused(client.get_schema, 2_000_000_000) == (404, 40403)
    assert refused(client.get_schema_by_guid, "no-guid") == (404, 40403)
    client.register_schema(unique, avro("id"))
    assert refused(client.get_version, unique, 7) == (404, 40402)
    assert refused(client.get_version, unique, "newest") == (422, 42202)
    assert refused(client.get_version, unique, 2**31) == (422, 42202)
    assert refused(client.lookup_schema, unique, avro("other")) == (404, 40403)
    assert refused(client.get_compatibility, unique) == (404, 40408)
    assert refused(client.get_mode, unique) == (404, 40409)
    assert refused(client.set_compatibility, unique, "SIDEWAYS") == (422, 42203)
    assert refused(client.update_mode, unique, "SLEEPING") == (422, 42204)
    assert refused(client.register_schema, unique, Schema('{"type":"recrod"}', "AVRO")) == (422, 42201)
    assert refused(client.register_schema, unique, Schema('{"type":"object"}', "JSON")) == (422, 42201)
    assert refused(client.register_schema, unique, avro({"name": "n", "type": "int", "default": "x"})) == (422, 42201)


def test_incompatible_is_refused_at_registration_with_words(client, unique):
    client.set_compatibility(unique, "full_transitive")
    assert client.get_compatibility(unique) == "FULL_TRANSITIVE"
    client.register_schema(unique, avro("id"))
    for broken in (avro("id", "name"), avro(), avro({"name": "id", "type": "bytes"}), avro("id", name="Company")):
        assert not client.test_compatibility(unique, broken)
        assert not client.test_compatibility_all_versions(unique, broken)
        assert refused(client.register_schema, unique, broken) == (409, 409)
    with pytest.raises(SchemaRegistryError, match="name: is new and has no default"):
        client.register_schema(unique, avro("id", "name"))
    assert client.test_compatibility(unique, avro("id", OPTIONAL), version=1, verbose=True)
    assert client.get_versions(unique) == [1]
    assert refused(client.test_compatibility, unique, avro("id"), version=9) == (404, 40402)
    assert refused(client.test_compatibility, f"{unique}-none", avro("id")) == (404, 40401)
    assert client.test_compatibility_all_versions(f"{unique}-none", avro("id"))


def test_level_of_all_holds_where_a_subject_has_none(client, unique):
    assert client.get_compatibility() == "BACKWARD"
    client.register_schema(unique, avro("id", "name"))
    assert client.test_compatibility(unique, avro("id"))
    client.set_compatibility(unique, "FORWARD")
    assert not client.test_compatibility(unique, avro("id"))
    client.set_compatibility(unique, "NONE")
    assert client.test_compatibility(unique, avro({"name": "id", "type": "int"}))
    assert client.delete_config(unique).compatibility_level == ConfigCompatibilityLevel.NONE
    assert refused(client.delete_config, unique) == (404, 40408)


def test_deletion_is_soft_first(client, unique):
    first, second = avro("id", doc=unique), avro("id", OPTIONAL, doc=unique)
    ids = [client.register_schema(unique, schema) for schema in (first, second)]
    assert refused(client.delete_subject, unique, permanent=True) == (404, 40405)
    assert refused(client.delete_version, unique, 1, permanent=True) == (404, 40407)
    assert client.delete_version(unique, 1) == 1
    assert refused(client.delete_version, unique, 1) == (404, 40406)
    assert client.get_versions(unique) == [2]
    assert client.get_versions(unique, deleted=True) == [1, 2]
    assert refused(client.get_version, unique, 1) == (404, 40402)
    assert client.get_version(unique, 1, deleted=True).schema_id == ids[0]
    client.clear_caches()
    assert client.get_schema(ids[0])
    assert client.delete_version(unique, 1, permanent=True) == 1
    client.clear_caches()
    assert refused(client.get_schema, ids[0]) == (404, 40403)
    assert client.delete_subject(unique) == [2]
    assert refused(client.delete_subject, unique) == (404, 40404)
    assert unique not in client.get_subjects()
    assert unique in client.get_subjects(deleted=True)
    assert unique in client.get_subjects(deleted_only=True)
    assert client.register_schema(unique, second) == ids[1]
    assert client.get_versions(unique) == [3]
    client.delete_subject(unique)
    assert client.delete_subject(unique, permanent=True) == [2, 3]
    assert refused(client.delete_subject, unique) == (404, 40401)
    assert client.register_schema(unique, avro("fresh")) > max(ids)


def test_configuration_goes_with_its_subject(client, unique):
    client.register_schema(unique, avro("id"))
    client.set_compatibility(unique, "FULL")
    client.delete_subject(unique)
    assert refused(client.get_compatibility, unique) == (404, 40408)


def test_references_are_resolved_and_hold_what_they_name(client, unique):
    money = Schema(json.dumps(record({"name": "fen", "type": "long"}, name="Money")), "AVRO")
    client.register_schema(f"{unique}-money", money)
    reference = SchemaReference("gz.aic.Money", f"{unique}-money", 1)
    order = Schema(json.dumps(record({"name": "price", "type": "Money"}, name="Order")), "AVRO", [reference])
    order_id = client.register_schema(f"{unique}-order", order)
    assert client.get_referenced_by(f"{unique}-money", 1) == [order_id]
    assert refused(client.delete_version, f"{unique}-money", 1) == (422, 42206)
    assert refused(client.delete_subject, f"{unique}-money") == (422, 42206)
    client.clear_caches()
    assert client.get_schema(order_id).references[0].subject == f"{unique}-money"
    absent = Schema(order.schema_str, "AVRO", [SchemaReference("gz.aic.Money", f"{unique}-none", 1)])
    assert refused(client.register_schema, f"{unique}-other", absent) == (422, 42201)


def test_metadata_rules_and_configuration_are_kept(client, unique):
    metadata = Metadata(None, MetadataProperties({"owner": "aic", "level": "L4"}), None)
    rule = Rule("mask", None, RuleKind.TRANSFORM, RuleMode.WRITEREAD, "ENCRYPT", ["PII"], None, None, None, None, False)
    text = json.dumps(record({"name": "id", "type": "string", "confluent:tags": ["PII"]}))
    schema = Schema(text, "AVRO", [], metadata, RuleSet(None, [rule]))
    client.register_schema(unique, schema)
    client.register_schema(unique, avro("id", OPTIONAL))
    client.clear_caches()
    kept = client.get_version(unique, 1).schema
    assert kept.metadata.properties.properties == {"owner": "aic", "level": "L4"}
    assert kept.rule_set.domain_rules[0].tags == ["PII"]
    assert json.loads(kept.schema_str)["fields"][0]["confluent:tags"] == ["PII"]
    assert client.get_latest_with_metadata(unique, {"owner": "aic"}).version == 1
    assert refused(client.get_latest_with_metadata, unique, {"owner": "police"}) == (404, 40402)
    client.set_config(unique, ServerConfig(compatibility=ConfigCompatibilityLevel.FULL, compatibility_group="major"))
    assert client.get_config(unique).compatibility_group == "major"
    assert client.get_compatibility(unique) == "FULL"


def test_modes(client, unique):
    client.register_schema(unique, avro("id"))
    assert client.get_global_mode() == "READWRITE"
    assert client.update_mode(unique, "READONLY") == "READONLY"
    assert client.get_mode(unique) == "READONLY"
    assert refused(client.register_schema, unique, avro("id", OPTIONAL)) == (422, 42205)
    assert refused(client.delete_subject, unique) == (422, 42205)
    assert client.delete_mode(unique) == "READONLY"
    assert refused(client.update_mode, unique, "IMPORT") == (422, 42205)
    assert client.update_mode(unique, "IMPORT", force=True) == "IMPORT"


@pytest.mark.parametrize("automatic", [True, False])
def test_stock_serializer_and_deserializer_work_unchanged(client, registry, unique, automatic):
    schema = record("id", OPTIONAL, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}})
    if not automatic:
        client.register_schema(f"{unique}-value", Schema(json.dumps(schema), "AVRO"))
    context = SerializationContext(unique, MessageField.VALUE)
    serializer = AvroSerializer(client, json.dumps(schema), conf={"auto.register.schemas": automatic})
    message = serializer({"id": "440106", "note": None, "at": 1_700_000_000_000_000}, context)
    assert message[0] == 0
    with SchemaRegistryClient({"url": registry}) as other:
        value = AvroDeserializer(other)(message, context)
    assert (value["id"], value["note"]) == ("440106", None)
    assert client.get_latest_version(f"{unique}-value").schema_id == int.from_bytes(message[1:5], "big")


def test_latest_version_is_used_when_asked_for(client, unique):
    client.register_schema(f"{unique}-value", avro("id", OPTIONAL))
    context = SerializationContext(unique, MessageField.VALUE)
    serializer = AvroSerializer(client, None, conf={"auto.register.schemas": False, "use.latest.version": True})
    message = serializer({"id": "1", "note": "备注"}, context)
    assert AvroDeserializer(client)(message, context) == {"id": "1", "note": "备注"}


def test_subject_names_may_be_chinese_and_hold_slashes(client, unique):
    subject = f"{unique}/企业 登记%"
    schema_id = client.register_schema(subject, avro("id"))
    assert client.get_latest_version(subject).schema_id == schema_id
    assert client.get_subjects(subject_prefix=f"{unique}/") == [subject]
    client.set_compatibility(subject, "FULL")
    assert client.get_compatibility(subject) == "FULL"
