"""Liveness: from which offset each grant is served live in each partition, remembered across restarts and workers.

A record per grant and partition lives on `mesh.egress` under the key `<grant_id>/<partition>`:

| entry        | meaning                                                                                              |
|--------------|------------------------------------------------------------------------------------------------------|
| `feed`       | the feed                                                                                             |
| `definition` | columns, filter and masks by which everything before `live_from` was delivered; null while history is under way |
| `held`       | the row filters by which the subscriber may hold rows (null: any); more than one while history is under way |
| `live_from`  | the first offset served live                                                                        |
| `edition`    | the grant's edition that was served: another one goes to another topic, from nothing                 |
| `stopped_at` | the first offset that the grant missed while it was not active; null while it is live                  |

A grant without a record, or with another definition, is due the partition from its start, as a snapshot; where it was changed, of
that what its subscriber does not have yet (streams/egress/owed.py). One that comes back is due what it missed, change by
change. Either is served live only after that is durable. A grant that is suspended, revoked, expired or gone is stopped at the next
call, and that is remembered before the batch is acknowledged.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.change import Partition
from streams.egress.backfill import Backfill, Job
from streams.egress.egress import definition_text
from streams.egress.owed import owed_after
from streams.egress.plan import Serving

_logger = logging.getLogger(__name__)


class EgressProgress(Protocol):
    """The control topic `mesh.egress`."""

    def load(self) -> Mapping[str, Mapping[str, Any]]:
        """Every record by key, read from the topic's end as it is now: other workers write there too."""
        ...

    def save(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep a record; durable on return. Raises Transient."""
        ...


@dataclass(slots=True)
class _Settled:
    """A partition in which nothing is on its way between live and not."""

    active: tuple[GrantEntry, ...]
    servings: tuple[Serving, ...]


class Liveness:
    """Says which grants are live at an offset, and makes the others so. Used by the relay's thread alone."""

    def __init__(
        self,
        *,
        progress: EgressProgress,
        backfill: Backfill,
        is_usable: Callable[[FeedEntry, GrantEntry], bool],
        hand_over_records: int,
        hand_over_seconds: float,
        entered: Callable[[], None],
    ) -> None:
        self._progress = progress
        self._backfill = backfill
        self._is_usable = is_usable
        self._hand_over_records = hand_over_records
        self._hand_over_seconds = hand_over_seconds
        self._entered = entered
        self._records: dict[Partition, dict[str, dict[str, Any]]] = {}
        self._by_feed: dict[str, list[GrantEntry]] = {}
        self._active: dict[str, tuple[GrantEntry, ...]] = {}
        self._judged: dict[str, tuple[GrantEntry, ...]] = {}
        self._settled: dict[Partition, _Settled] = {}
        self._next: dict[Partition, int] = {}
        self._jobs: dict[tuple[Partition, str], tuple[Job, str]] = {}
        self._loaded: dict[Partition, dict[str, dict[str, Any]]] | None = None

    def take_up(self, directory: Directory) -> None:
        """The directory has changed: look at every grant again."""
        self._by_feed.clear()
        for entry in directory.grants.values():
            self._by_feed.setdefault(entry.grant.feed, []).append(entry)
        self._active.clear()
        self._judged.clear()
        self._settled.clear()

    def keep_only(self, places: Collection[Partition]) -> None:
        """Partitions beside these are another worker's now: what was known of them may change without us."""
        for place in [place for place in {*self._records, *self._next} if place not in places]:
            self._forget(place)

    def begin(self) -> None:
        """A new call of the relay: grants are judged anew."""
        self._judged.clear()

    def assigned(self) -> None:
        """A new assignment: other workers may have had any of these partitions meanwhile, so what they wrote is read again.

        By offsets nobody could tell: transactions leave gaps in derived feeds, and compaction leaves them in every feed.
        """
        self._loaded = None
        self._records.clear()
        self._settled.clear()

    def standing(self, feed: str, partition: int, position: int) -> int:
        """Where a partition without waiting records stands: never behind what has passed already."""
        return max(position, self._next.get((feed, partition), 0))

    def passed(self, feed: str, partition: int, next_offset: int) -> None:
        """Everything before `next_offset` of this partition is durable."""
        self._next[(feed, partition)] = next_offset

    def servings(self, feed: FeedEntry, partition: int, offset: int, now: datetime) -> tuple[Serving, ...]:
        """The grants that are served live from `offset` of this partition on, until the next call."""
        place = (feed.feed, partition)
        active = self._judged.get(feed.feed)
        if active is None:
            active = self._judged[feed.feed] = self._active_grants(feed, now)
        settled = self._settled.get(place)
        is_back = offset < self._next.get(place, 0)  # a position may have been ahead of what was handled
        if settled is not None and settled.active is active and not is_back:
            return settled.servings
        if place not in self._records:
            self._records[place] = self._load(place)
        self._next[place] = offset
        return self._settle(feed, place, offset, active)

    def _active_grants(self, feed: FeedEntry, now: datetime) -> tuple[GrantEntry, ...]:
        """The same tuple as long as the same grants are active."""
        entries = self._by_feed.get(feed.feed, ())
        active = tuple(entry for entry in entries if entry.grant.is_active(now) and self._is_usable(feed, entry))
        known = self._active.get(feed.feed)
        if known is not None and len(known) == len(active) and all(a is b for a, b in zip(known, active, strict=True)):
            return known
        self._active[feed.feed] = active
        return active

    def _settle(
        self, feed: FeedEntry, place: Partition, offset: int, active: tuple[GrantEntry, ...]
    ) -> tuple[Serving, ...]:
        records = self._records[place]
        present = {entry.grant.grant_id for entry in active}
        for grant_id in [*records, *(grant_id for at, grant_id in self._jobs if at == place)]:
            if grant_id not in present:
                self._stop(place, grant_id, offset)
        live: list[Serving] = []
        due: dict[int, list[Serving]] = {}
        is_settled = True
        for entry in active:
            grant_id, text = entry.grant.grant_id, definition_text(entry)
            record = records.get(grant_id)
            if record and record["definition"] == text and record["stopped_at"] is None:
                self._leave_job((place, grant_id))
                live.append(Serving(entry=entry))
            elif self._is_caught_up(feed, place, entry, offset, due):
                self._save(place, grant_id, self._live_record(feed, entry, text, offset))
                self._entered()
                _logger.info("grant %s is live in partition %d from offset %d", grant_id, place[1], offset)
                live.append(Serving(entry=entry))
            else:
                is_settled = False
        for start, servings in due.items():
            self._begin(place, servings, start, offset)
        if is_settled:
            self._settled[place] = _Settled(active, tuple(live))
        else:
            self._settled.pop(place, None)
        return tuple(live)

    def _is_caught_up(
        self, feed: FeedEntry, place: Partition, entry: GrantEntry, offset: int, due: dict[int, list[Serving]]
    ) -> bool:
        """Whether the grant has everything before `offset`; notes under its start in `due` what has to be begun."""
        key, text = (place, entry.grant.grant_id), definition_text(entry)
        job, its_text = self._jobs.get(key, (None, ""))
        if job is not None and its_text == text and entry.grant.grant_id not in job.dropped:
            if self._backfill.reached(
                job, offset, wait_below=self._hand_over_records, wait_seconds=self._hand_over_seconds
            ):
                del self._jobs[key]
                return True
            return False
        self._leave_job(key)
        record = self._records[place].get(entry.grant.grant_id)
        is_resumed = record is not None and record["definition"] == text
        start = record["stopped_at"] if record and is_resumed else 0
        if start >= offset:
            return True
        # Another edition goes to another topic, and what its subscriber held is removed as a whole.
        is_same_topic = record is not None and record.get("edition", 1) == entry.edition
        held = tuple(record["held"]) if record and not is_resumed and is_same_topic else ()
        changed = None
        if record and record["definition"] and not is_resumed and is_same_topic:
            until = offset if record["stopped_at"] is None else record["stopped_at"]
            changed = owed_after(json.loads(record["definition"]), entry.grant, feed, until)
        serving = Serving(entry=entry, held=held, is_snapshot=not is_resumed, owed=changed)
        due.setdefault(start, []).append(serving)
        return False

    def _begin(self, place: Partition, servings: list[Serving], start: int, offset: int) -> None:
        for serving in servings:
            entry = serving.entry
            record = self._records[place].get(entry.grant.grant_id)
            if record is None or record["definition"] != definition_text(entry):
                # From here on the subscriber may hold rows by the new filter too, whatever comes between.
                held = list(dict.fromkeys([*serving.held, entry.grant.row_filter]))
                pending = {"feed": place[0], "definition": None, "held": held, "live_from": None, "stopped_at": None}
                pending["edition"] = entry.edition
                self._save(place, entry.grant.grant_id, pending)
        job = Job(topic=place[0], partition=place[1], servings=tuple(servings), start=start, target=offset)
        for serving in servings:
            grant_id = serving.entry.grant.grant_id
            self._jobs[(place, grant_id)] = (job, definition_text(serving.entry))
            _logger.info("grant %s is due offsets %d to %d of %s [%d]", grant_id, start, offset, *place)
        self._backfill.begin(job)

    def _stop(self, place: Partition, grant_id: str, offset: int) -> None:
        """The grant is not active any more: remember where, before anything passes it by."""
        self._leave_job((place, grant_id))
        record = self._records[place].get(grant_id)
        if record is None or record["definition"] is None:
            return
        if record["stopped_at"] is None or offset < record["stopped_at"]:
            self._save(place, grant_id, {**record, "stopped_at": offset})
            _logger.info("grant %s is stopped at offset %d of %s [%d]", grant_id, offset, *place)

    def _leave_job(self, key: tuple[Partition, str]) -> None:
        """The job is not for this grant any more; one that is for nobody is cancelled."""
        job, _ = self._jobs.pop(key, (None, ""))
        if job is not None and all(its_job is not job for its_job, _ in self._jobs.values()):
            self._backfill.cancel(job)

    def _live_record(self, feed: FeedEntry, entry: GrantEntry, text: str, offset: int) -> dict[str, Any]:
        held = [entry.grant.row_filter]
        record = {"feed": feed.feed, "definition": text, "held": held, "live_from": offset, "stopped_at": None}
        return {**record, "edition": entry.edition}

    def _save(self, place: Partition, grant_id: str, record: dict[str, Any]) -> None:
        self._progress.save(f"{grant_id}/{place[1]}", record)
        self._records[place][grant_id] = record

    def _load(self, place: Partition) -> dict[str, dict[str, Any]]:
        if self._loaded is None:
            self._loaded = {}
            for key, record in self._progress.load().items():
                grant_id, _, partition = key.rpartition("/")
                self._loaded.setdefault((record["feed"], int(partition)), {})[grant_id] = dict(record)
        return self._loaded.get(place, {})

    def _forget(self, place: Partition) -> None:
        for key in [key for key in self._jobs if key[0] == place]:
            self._leave_job(key)
        self._loaded = None
        self._records.pop(place, None)
        self._settled.pop(place, None)
        self._next.pop(place, None)
