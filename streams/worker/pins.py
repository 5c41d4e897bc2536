"""Pins: refuse a library whose private methods are no longer those that our code was written against.

Each method is named as `module:Class.method`, with the first 16 hexadecimal digits of the SHA-256 of its source text: those
that streams/worker/transport.py overrides or leans on (FA-24).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from hashlib import sha256
from pkgutil import resolve_name

from schemas.errors import Misconfigured

FAUST: Mapping[str, str] = {
    "faust.app.base:App._on_partitions_revoked": "d5c895bbe57dc73a",
    "faust.app.base:App._on_partitions_assigned": "de932b7927db85b3",
    "faust.transport.consumer:Consumer._drain_messages": "44a2500309e83c63",
    "faust.transport.consumer:Consumer.ack": "5fcf41cf45153475",
    "faust.transport.consumer:Consumer.commit": "a354437baaa08bf8",
    "faust.transport.consumer:Consumer.force_commit": "cc094614d22c70fb",
    "faust.transport.consumer:Consumer.on_partitions_assigned": "29ce96596f05a18c",
    "faust.transport.consumer:Consumer.on_partitions_revoked": "d04b7ae72c6fc206",
    "faust.transport.consumer:Consumer.perform_seek": "0e8c130ff4b0afd8",
    "faust.transport.conductor:Conductor._build_handler": "5c071d1277988c57",
    "faust.transport.conductor:Conductor._flag_changes": "43eb94e0048312fc",
    "faust.transport.conductor:Conductor._update_indices": "619b3247b96ac7d5",
    "faust.transport.conductor:Conductor._update_tp_index": "e8e3ac9025ef44f7",
    "faust.tables.recovery:Recovery._resume_streams": "d986a6710c1aca98",
    "faust.tables.recovery:Recovery.on_rebalance": "aa4d997a1795ceae",
    "faust.tables.manager:TableManager.on_start": "365dd25fbc0e0684",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._commit": "932852ce7a23f658",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_worker_consumer": "c2701bfc3e6f6cad",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._fetch_records": "39a2c6c79fc1455a",
    "faust.transport.drivers.aiokafka:ConsumerRebalanceListener.on_partitions_revoked": "348c3aec879faf80",
}
AIOKAFKA: Mapping[str, str] = {
    "aiokafka.client:AIOKafkaClient._md_synchronizer": "e0421bffa9a7735a",
    "aiokafka.consumer.fetcher:Fetcher._fetch_requests_routine": "2a8ec5932644c9b0",
    "aiokafka.consumer.fetcher:Fetcher._get_actions_per_node": "1dab2cf937d165d0",
    "aiokafka.consumer.fetcher:Fetcher.fetched_records": "be4348896b9b66af",
    "aiokafka.consumer.fetcher:FetchResult.getall": "3e717e30de5068d5",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._on_join_complete": "0b0b3d204b408f3c",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._on_join_prepare": "4d9524afc0ee2c2f",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.fetch_committed_offsets": "6c049c7379165952",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.request_rejoin": "f70a261c91c38cb5",
    "aiokafka.consumer.subscription_state:SubscriptionState.assign_from_subscribed": "faf16f1b629aa838",
}


def fingerprint(method: str) -> str | None:
    """The fingerprint of a method's source text; None if there is no such method any more."""
    try:
        found = resolve_name(method)
    except (ImportError, AttributeError):
        return None
    return sha256(inspect.getsource(found).encode()).hexdigest()[:16]


def check_pins(package: str, version: str, pins: Mapping[str, str]) -> None:
    """Compare each method with its fingerprint. Raises Misconfigured that names the ones which differ."""
    changed = sorted(method for method, pin in pins.items() if fingerprint(method) != pin)
    if changed:
        raise Misconfigured(
            package,
            f"is not the version that the stream worker was written against: {', '.join(changed)} differ",
            fix=f"install {package}=={version}, or read the changed methods, adapt streams/worker/transport.py and its pins",
        )
