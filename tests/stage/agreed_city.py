"""The example city as a running mesh would have agreed on it, from its folders: agencies, feeds, subscribers, grants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from ops.city.city import GUANGZHOU
from ops.lint.folder import load
from ops.settings import Settings
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig, Subscriber
from schemas.log.kafka import Kafka


@cache
def agreed_city() -> Directory:
    city = load(GUANGZHOU)
    contracts = {contract.feed: contract for each in city.agencies for contract in each.contracts}
    return Directory(
        agencies={each.agency.agency: each.agency for each in city.agencies},
        feeds={
            feed: FeedEntry(contract=contract, version=1, key_schema_id=1, value_schema_id=2, partitions=4)
            for feed, contract in contracts.items()
        },
        subscribers={each.subscriber.subscriber: each.subscriber for each in city.subscribers},
        grants=entries(grant for each in city.subscribers for grant in each.grants),
    )


def entries(grants: Iterable[Grant]) -> dict[str, GrantEntry]:
    return {each.grant_id: GrantEntry(grant=each, key_schema_id=1, value_schema_id=2, version=1) for each in grants}


def with_reader(directory: Directory, code: str, sinks: dict[str, SinkConfig], *grants: Grant) -> Directory:
    """With one more subscriber, and its grants."""
    reader = Subscriber(subscriber=code, name="广州海关", sinks=tuple(sinks.values()))
    return replace(
        directory,
        subscribers={**directory.subscribers, code: reader},
        grants={**directory.grants, **entries(grants)},
    )


def settings_of(folder: Path) -> Settings:
    """Of a mesh whose every secret would be seen in what is made with them."""
    return Settings(
        directory=folder,
        kafka=Kafka("broker-1:9092,broker-2:9092", user="mesh", password="S3CRET-of-kafka"),
        registry="http://mesh:S3CRET-of-registry@127.0.0.1:8081",
        hub_database="postgresql://mesh:S3CRET-of-hub@127.0.0.1/hub",
    )
