"""Flink: a feed's `out` topic as a table of stock Flink SQL (format `debezium-avro-confluent`).

Flink reads an envelope by names and types that it derives from the table. What has no type there is left out, and a comment says so:
an Avro reader passes over columns that it does not name. Moments are BIGINT as Avro has them, with a computed TIMESTAMP_LTZ beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ops.kits.readable import Readable
from schemas.agreement.directory import GrantEntry
from schemas.contract import AvroType
from schemas.wire.envelope import out_key_schema, out_value_schema

SHADED = "org.apache.flink.kafka.shaded."
"""Where the SQL connector's jar (flink-sql-connector-kafka) has Kafka's own classes."""
_PLAIN: Mapping[str, str] = {
    "boolean": "BOOLEAN",
    "int": "INT",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "STRING",
    "bytes": "BYTES",
}
_MOMENTS: Mapping[str, str] = {
    "timestamp-micros": "TO_TIMESTAMP_LTZ({} / 1000, 3)",
    "timestamp-millis": "TO_TIMESTAMP_LTZ({}, 3)",
}


def flink_type(avro: AvroType) -> str | None:
    """The type by which stock Flink reads a value, without its nullability; None where it has none."""
    if isinstance(avro, list):
        branches = [branch for branch in avro if branch != "null"]
        return flink_type(branches[0]) if len(branches) == 1 else None
    if isinstance(avro, str):
        return _PLAIN.get(avro)
    match avro.get("logicalType"), avro["type"]:
        case "decimal", "bytes":
            return f"DECIMAL({avro['precision']}, {avro.get('scale', 0)})" if avro["precision"] <= 38 else None
        case "date", "int":
            return "DATE"
        case _, "array" | "map" | "record" as kind:
            return _nested(kind, avro)
        case _, kind:
            return _PLAIN.get(kind)


def _nested(kind: str, avro: Mapping[str, Any]) -> str | None:
    if kind == "record":
        inner = [(identifier(field["name"]), flink_type(field["type"])) for field in avro["fields"]]
        return f"ROW<{', '.join(f'{name} {of}' for name, of in inner)}>" if all(of for _, of in inner) else None
    of = flink_type(avro["items"] if kind == "array" else avro["values"])
    if of is None:
        return None
    return f"ARRAY<{of}>" if kind == "array" else f"MAP<STRING, {of}>"


def _moment(avro: AvroType) -> str | None:
    """The logical type of a moment, for its computed column."""
    branches = avro if isinstance(avro, list) else [avro]
    found = {branch["logicalType"] for branch in branches if isinstance(branch, Mapping) and "logicalType" in branch}
    return next((name for name in found if name in _MOMENTS), None)


def identifier(name: str) -> str:
    """A name as SQL quotes it."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as SQL quotes it."""
    return "'" + text.replace("'", "''") + "'"


def comment(text: str) -> str:
    """A line of comment; what would end it is not in it."""
    return "-- " + "".join(char if char.isprintable() else " " for char in text)


def table(readable: Readable, entry: GrantEntry, connection: Mapping[str, str]) -> str:
    """CREATE TABLE for what one grant delivers."""
    contract = readable.contract(entry)
    key = {field["name"] for field in out_key_schema(contract, entry.grant)["fields"]}
    lines: list[str] = []
    left_out: list[str] = []
    columns: Sequence[Mapping[str, Any]] = out_value_schema(contract, entry.grant)["fields"][0]["type"][1]["fields"]
    names = {field["name"] for field in columns}
    for field in columns:
        name, kind = field["name"], flink_type(field["type"])
        if kind is None:
            left_out.append(name)
            continue
        lines.append(f"  {identifier(name)} {kind}{' NOT NULL' if name in key else ''}")
        moment = _moment(field["type"])
        if moment is not None:
            computed = f"{name}_at" if f"{name}_at" not in names else f"{name}_ltz"
            lines.append(f"  {identifier(computed)} AS {_MOMENTS[moment].format(identifier(name))}")
    if not key & set(left_out):
        keys = ", ".join(identifier(name) for name in contract.key)
        lines.append(f"  PRIMARY KEY ({keys}) NOT ENFORCED")
    settings = {"topic": entry.topic, **connection}
    told = [comment(f"{contract.doc or entry.grant.feed}: grant {entry.grant.grant_id}, for {entry.grant.purpose}")]
    if left_out:
        told.append(comment(f"Left out, since stock Flink has no type for them: {', '.join(left_out)}"))
    named = identifier(entry.grant.delivered_as.replace(".", "_"))
    options = ",\n".join(f"  {literal(name)} = {literal(value)}" for name, value in settings.items())
    return "\n".join([*told, f"CREATE TABLE {named} (", ",\n".join(lines), ") WITH (", options, ");", ""])


def connection(
    *, brokers: str, security: str, group: str, login_file: str, registry: str, uses_tls: bool
) -> dict[str, str]:
    """What all tables of a kit are connected by. The login is read by Kafka's client from its file, and stands in no statement."""
    scram = f"{SHADED}org.apache.kafka.common.security.scram.ScramLoginModule"
    user, password = (f"${{file:{login_file}:sasl.{name}}}" for name in ("username", "password"))
    entered = {
        "connector": "kafka",
        "properties.bootstrap.servers": brokers,
        "properties.group.id": group,
        "properties.security.protocol": security,
        "properties.sasl.mechanism": "SCRAM-SHA-512",
        "properties.config.providers": "file",
        "properties.config.providers.file.class": f"{SHADED}org.apache.kafka.common.config.provider.FileConfigProvider",
        "properties.sasl.jaas.config": f'{scram} required username="{user}" password="{password}";',
        "properties.isolation.level": "read_committed",
        "scan.startup.mode": "earliest-offset",
        "format": "debezium-avro-confluent",
        "debezium-avro-confluent.url": registry,
    }
    if uses_tls:
        entered |= {"properties.ssl.truststore.type": "PEM", "properties.ssl.truststore.location": "/path/to/ca.pem"}
    return entered


def statements(readable: Readable, connected: Mapping[str, str]) -> str:
    """The whole file."""
    head = [
        f"Stock Flink SQL for what {readable.name} may read: sql-client.sh -i feeds.sql",
        "It needs flink-sql-connector-kafka and flink-sql-avro-confluent-registry in lib/, of your version of Flink.",
        "Put the file that was handed to you where the statements name it, on every host of the cluster, mode 0600.",
        "Flink stops at a change of kind `t`, with which a feed is emptied or copied anew: start the job again from nothing then.",
        "What the group of a checkpointing job commits confirms nothing while its name ends in .flink; without that it does.",
    ]
    return "\n".join([*map(comment, head), "", *(table(readable, entry, connected) for entry in readable.entries)])
