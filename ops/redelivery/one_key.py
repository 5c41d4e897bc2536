"""One key: the newest change of a key on a grant's `out` topic, by the key as people write it, delivered again to that subscriber."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any, NamedTuple

from ops.audit.refused import note
from ops.redelivery.again import Past, append_again
from ops.redelivery.again_log import again_log
from ops.redelivery.newest import Moments, Newest
from ops.settings import Settings
from ops.show.tail import View
from schemas.agreement.directory import Directory, GrantEntry
from schemas.change import Record
from schemas.errors import Misconfigured, Rejected
from schemas.log.kafka import Kafka
from schemas.log.offsets import partitions_of
from schemas.log.range import read_standing
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec


class Found(NamedTuple):
    """Where the newest change of a key stands."""

    partition: int
    record: Record


def replay_key(settings: Settings, directory: Directory, entry: GrantEntry, text: str, *, dry_run: bool) -> Found:
    """Deliver the newest change of a key again. Raises Misconfigured where the topic has none of that key."""
    contract = directory.feeds[entry.grant.feed].contract
    name = entry.grant.grant_id
    with closing(RegistryClient(settings.registry)) as registry:
        view, codec, moments = (
            View(contract=contract, is_revealed=True),
            Codec(registry.schema),
            Moments(registry.schema),
        )
        found = _newest(settings.kafka, entry.topic, view, codec, moments, text)
        if found is None:
            fix = 'write it as `mesh tail` shows it: one value, or {"column": value} where the key has several'
            raise Misconfigured("--key", f"the topic of {name} has no change of such a key", fix=fix)
        if not dry_run:
            record = found.record
            newest = Newest(settings.kafka, entry.topic, found.partition, [record.key], moments)
            newest.read(record.offset)
            with again_log(settings, "mesh-replay") as log:
                # The key may be a person's: the audit has what only they find who know it.
                digest = hashlib.sha256(record.key or b"").hexdigest()[:16]
                note(settings, "replay", name, key_digest=digest, partition=found.partition, offset=record.offset)
                append_again(log, newest, [Past(record, record.headers or ())])
    return found


def _newest(kafka: Kafka, topic: str, view: View, codec: Codec, moments: Moments, text: str) -> Found | None:
    wanted = _wanted(text)
    found: Found | None = None
    best = b""
    for partition in range(partitions_of(kafka, topic)):
        for batch in read_standing(kafka, topic, partition):
            for record in batch.records:
                if record.value is None or not record.key or not _is(record.key, view, codec, wanted):
                    continue
                if (token := moments.token(record)) >= best:
                    found, best = Found(partition, record), token
    return found


def _wanted(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def _is(key: bytes, view: View, codec: Codec, wanted: Any) -> bool:
    try:
        shown: Mapping[str, Any] = view.row(codec.decode(key)) or {}
    except Rejected:
        return False
    if isinstance(wanted, dict):
        return {name: str(value) for name, value in shown.items()} == {n: str(v) for n, v in wanted.items()}
    return len(shown) == 1 and str(next(iter(shown.values()))) == wanted
