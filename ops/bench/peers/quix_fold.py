"""The peer of the stateful measurement: the same merge in Quix Streams, its state in RocksDB with a changelog topic.

A program of its own, run by `ops/bench/peers/quix.py` in an environment of its own: `quix_fold.py JOB.json`, where the job
has `kafka`, `group`, `topic`, `out`, `folder`, the two envelope schemas (`schema`, `out_schema`) and the id to write
(`out_schema_id`). It runs until it is stopped.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUntypedBaseClass=false

import json
import sys
from pathlib import Path
from typing import Any

from quix_egress import PRODUCER, FromAvro, ToAvro  # beside this file
from quixstreams import Application
from quixstreams.kafka import ConnectionConfig


def main() -> None:
    """Run the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    app = Application(
        broker_address=ConnectionConfig.from_librdkafka_dict(job["kafka"]),
        consumer_group=job["group"],
        auto_offset_reset="earliest",
        auto_create_topics=True,
        use_changelog_topics=True,
        state_dir=job["folder"],
        commit_interval=1.0,
        loglevel="WARNING",
        producer_extra_config=PRODUCER,
        consumer_extra_config={"fetch.min.bytes": 1 << 16},
    )
    feed = app.topic(job["topic"], key_deserializer="bytes", value_deserializer=FromAvro(job["schema"]))
    out = app.topic(
        job["out"], key_serializer="bytes", value_serializer=ToAvro(job["out_schema"], job["out_schema_id"])
    )
    name = job["topic"]

    def merge(envelope: Any, state: Any) -> Any:
        """The newest row of the key, with where it came from; an older change is refused, as ours is."""
        position = envelope["source"]["sequence"]
        present = state.get("row")
        row = envelope["after"]
        if present is not None and present["from_position"] >= position:
            return None
        merged = {
            **row,
            "amount": row["amount"].hex() if row["amount"] is not None else None,
            "from_feed": name,
            "from_position": position,
            "from_committed_at_ms": envelope["source"]["ts_ms"],
        }
        state.set("row", merged)
        return {**envelope, "before": _raw(present), "after": _raw(merged), "op": "c" if present is None else "u"}

    app.dataframe(feed).apply(merge, stateful=True).filter(lambda value: value is not None).to_topic(out)
    app.run()


def _raw(row: Any) -> Any:
    """State is JSON, which has no bytes."""
    if row is None or row["amount"] is None:
        return row
    return {**row, "amount": bytes.fromhex(row["amount"])}


if __name__ == "__main__":
    main()
