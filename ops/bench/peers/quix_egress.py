"""The peer of egress: the same row filter and projection in Quix Streams, with fastavro on both sides.

A program of its own, run by `ops/bench/peers/quix.py` in an environment of its own, because Quix Streams pins another
confluent-kafka than ours: `quix_egress.py JOB.json`, where the job has `kafka`, `group`, `topic`, `out`, the two envelope
schemas (`schema`, `out_schema`), the id to write (`out_schema_id`), `columns`, and the filter `{column, values}`. It runs until
it is stopped.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUntypedBaseClass=false

import io
import json
import struct
import sys
from pathlib import Path
from typing import Any

import fastavro
from quixstreams import Application
from quixstreams.kafka import ConnectionConfig
from quixstreams.models.serializers import Deserializer, Serializer

PRODUCER = {"linger.ms": 20, "compression.type": "lz4", "batch.size": 1 << 20, "enable.idempotence": True}


class FromAvro(Deserializer):
    """Framed Avro to a dict."""

    def __init__(self, schema: Any) -> None:
        super().__init__()
        self._schema = fastavro.parse_schema(schema)

    def __call__(self, value: bytes, ctx: Any) -> Any:  # noqa: ARG002 - the port's shape
        """Skip the five bytes of framing; the job has one schema."""
        return fastavro.schemaless_reader(io.BytesIO(value[5:]), self._schema, None)


class ToAvro(Serializer):
    """A dict to framed Avro."""

    def __init__(self, schema: Any, schema_id: int) -> None:
        super().__init__()
        self._schema = fastavro.parse_schema(schema)
        self._header = struct.pack(">bI", 0, schema_id)

    def __call__(self, value: Any, ctx: Any) -> bytes:  # noqa: ARG002 - the port's shape
        """Framing, then the body."""
        out = io.BytesIO()
        out.write(self._header)
        fastavro.schemaless_writer(out, self._schema, value)
        return out.getvalue()


def main() -> None:
    """Run the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    columns, column, wanted = job["columns"], job["filter"]["column"], frozenset(job["filter"]["values"])
    app = Application(
        broker_address=ConnectionConfig.from_librdkafka_dict(job["kafka"]),
        consumer_group=job["group"],
        auto_offset_reset="earliest",
        auto_create_topics=False,
        use_changelog_topics=False,
        commit_interval=1.0,
        loglevel="WARNING",
        producer_extra_config=PRODUCER,
        consumer_extra_config={"fetch.min.bytes": 1 << 16},
    )
    feed = app.topic(job["topic"], key_deserializer="bytes", value_deserializer=FromAvro(job["schema"]))
    out = app.topic(
        job["out"], key_serializer="bytes", value_serializer=ToAvro(job["out_schema"], job["out_schema_id"])
    )

    def project(row: Any) -> Any:
        return None if row is None else {name: row[name] for name in columns}

    def cut(envelope: Any) -> Any:
        return {**envelope, "before": project(envelope["before"]), "after": project(envelope["after"])}

    stream = app.dataframe(feed).filter(lambda envelope: envelope["after"][column] in wanted)
    stream.apply(cut).to_topic(out)
    app.run()


if __name__ == "__main__":
    main()
