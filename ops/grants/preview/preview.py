"""Previewing: `mesh grant preview`, a dry run (试运行) of a grant over the last days of its feed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ops.grants.decide import grant_named
from ops.grants.preview.previewed import Previewed
from ops.grants.preview.sketch import Sketch
from ops.known_names import did_you_mean
from ops.lint.check import check
from ops.lint.folder import load
from ops.settings import Settings
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant
from schemas.change import Batch, Record
from schemas.errors import Misconfigured
from schemas.log.control.follower import read_directory
from schemas.log.offsets import bounds, offsets_since, partitions_of
from schemas.log.range import read_range
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec
from schemas.wire.envelope import out_key_schema, out_value_schema
from schemas.wire.schema import SchemaOf
from streams.egress.plan import Headers, Plans, Serving
from streams.egress.route import Router

KEY_ID, VALUE_ID = (1 << 31) - 2, (1 << 31) - 1
"""Ids that no registry gives: the schemas of a grant that is not there yet."""
TELL_SECONDS = 2.0

Say = Callable[[str], None]


def preview(settings: Settings, what: str, *, days: float, only: str | None, say: Say) -> list[Previewed]:
    """The grant of this id, with the change of it that waits; or those of a subscriber's folder or file.

    Raises Misconfigured for what is neither, or whose folder `mesh check` refuses, and Transient.
    """
    directory = read_directory(settings.kafka)
    grants = _grants(directory, what)
    if only is not None:
        grants = [grant for grant in grants if grant.grant_id == only]
        if not grants:
            raise Misconfigured(f"grant {only}", f"is not in {what}", fix="leave --grant out for all of them")
    since = datetime.now(UTC) - timedelta(days=days)
    with closing(RegistryClient(settings.registry)) as registry:
        return [_DryRun(settings, directory, grant, registry.schema, say).run(since) for grant in grants]


def _grants(directory: Directory, what: str) -> list[Grant]:
    path = Path(what)
    if not path.exists():
        return [grant_named(directory, what).asked]
    folder = path.parent if path.is_file() else path
    report = check(folder, directory=directory)
    if report.errors:
        first = report.errors[0]
        raise Misconfigured(f"{first.file}:{first.line}", first.message, fix=first.fix)
    grants = [grant for subscriber in load(folder).subscribers for grant in subscriber.grants]
    if not grants:
        raise Misconfigured(what, "names no grants", fix="name a subscriber's folder, or a grant's id")
    return grants


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    starts: Mapping[int, tuple[int, int]]

    @property
    def records(self) -> int:
        return sum(end - start for start, end in self.starts.values())


class _DryRun:
    """One grant over one feed."""

    def __init__(self, settings: Settings, directory: Directory, grant: Grant, schema_of: SchemaOf, say: Say) -> None:
        feed = directory.feeds.get(grant.feed)
        if feed is None:
            fix = did_you_mean(grant.feed, directory.feeds, "`mesh catalogue` lists them")
            raise Misconfigured(f"feed {grant.feed}", "is not there", fix=fix)
        self._settings = settings
        self._grant = grant
        self._feed: FeedEntry = feed
        self._say = say
        own = {KEY_ID: out_key_schema(feed.contract, grant), VALUE_ID: out_value_schema(feed.contract, grant)}

        def found(schema_id: int) -> Mapping[str, Any]:
            return own[schema_id] if schema_id in own else schema_of(schema_id)

        # Hashed with a key of the moment: the hash itself is shown to nobody.
        secret = secrets.token_bytes(32)
        plans = Plans(found, lambda _: secret)
        self._sketch = Sketch(grant, feed.contract, Codec(found))
        entry = GrantEntry(grant=grant, key_schema_id=KEY_ID, value_schema_id=VALUE_ID, version=feed.version)
        self._servings = (Serving(entry=entry),)
        self._outlet = _Nowhere(entry.topic, self._sketch)
        self._router = Router(plans, self._outlet, is_live=True)

    def run(self, since: datetime) -> Previewed:
        """Replay what came since, partition by partition."""
        window, done, told = self._window(since), 0, time.monotonic()
        for number, (start, end) in window.starts.items():
            for batch in read_range(self._settings.kafka, self._feed.feed, number, start, end):
                self._take(batch)
                if time.monotonic() - told > TELL_SECONDS:
                    told, at = time.monotonic(), done + batch.next_offset - start
                    self._say(f"{self._feed.feed}: {at:,} of {window.records:,} records")
            done += end - start
        return Previewed(grant=self._grant, contract=self._feed.contract, since=since, sketch=self._sketch)

    def _window(self, since: datetime) -> _Window:
        feed = self._feed.feed
        numbers = range(partitions_of(self._settings.kafka, feed))
        later = offsets_since(self._settings.kafka, feed, numbers, since)
        ends = {number: bounds(self._settings.kafka, feed, number) for number in numbers}
        return _Window(starts={number: (max(low, later[number]), high) for number, (low, high) in ends.items()})

    def _take(self, batch: Batch) -> None:
        """One record at a time: what comes out of it is told of the row that it is about."""
        for record in batch.records:
            if record.value is not None:
                self._outlet.record, self._outlet.row = record, self._sketch.went_by(record)
                one = Batch(topic=batch.topic, partition=batch.partition, records=[record])
                self._sketch.reject(self._router.route(one, self._feed, self._servings).rejected)


class _Nowhere:
    """Where a dry run writes to: `streams.egress.route.Outlet` that shows the sketch what would be on the grant's topic."""

    def __init__(self, topic: str, sketch: Sketch) -> None:
        self._topic = topic
        self._sketch = sketch
        self.record: Record | None = None
        self.row: Mapping[str, Any] | None = None

    def append(
        self,
        topic: str,
        key: bytes | None,  # noqa: ARG002 - the port's shape
        value: bytes | None,
        *,
        partition: int,  # noqa: ARG002
        headers: Headers | None,  # noqa: ARG002
    ) -> None:
        """See Outlet; dead letters are counted by whoever routes, and tombstones say nothing new."""
        if topic == self._topic and value is not None and self.record is not None:
            self._sketch.passes(self.record, self.row, value)

    def flush(self, within_seconds: float) -> None:
        """There is nothing to wait for."""

    def settle(self, within_seconds: float) -> bool:  # noqa: ARG002
        """Nothing is under way."""
        return True
