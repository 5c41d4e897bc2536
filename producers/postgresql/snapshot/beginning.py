"""The beginning of a source, its first or a new one after a gap: publication, slot, snapshot of every table (PG-13)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from psycopg.pq.abc import PGconn

from producers.postgresql.book import Book
from producers.postgresql.slot import Slot, by_table
from producers.postgresql.snapshot.copying import Copying
from producers.postgresql.snapshot.mark import EMPTIED
from producers.postgresql.snapshot.origin import Origin
from producers.postgresql.snapshot.plan import CopyPlan
from producers.postgresql.snapshot.snapshot import create_slot
from producers.source import SourceBatch
from schemas.agreement.directory import FeedEntry
from schemas.errors import Misconfigured
from schemas.incident import Incidents


def begin(
    link: PGconn,
    identity: Mapping[str, Any],
    feeds: Mapping[str, FeedEntry],
    *,
    book: Book,
    slot: Slot,
    plan: CopyPlan,
    copying: Copying,
    origin: Callable[[], Origin],
    incidents: Incidents,
) -> Iterator[SourceBatch]:
    """Up to the last row of the last table. Raises Misconfigured for a slot of that name that is not known to be ours."""
    former, present_slot = book.place.phase, slot.row()
    if former == "new" and present_slot is not None:
        raise Misconfigured(
            f"source {book.name}",
            f"a slot named {slot.name} exists, but nothing is recorded of it",
            fix=f"if no other mesh uses it: SELECT pg_drop_replication_slot('{slot.name}');",
        )
    is_resync = former == "resync"
    place = replace(book.place, phase="resync" if is_resync else "creating")
    fresh = {feed: replace(book.table(feed).fresh(), since=0, is_emptied=True) for feed in feeds}
    book.save(replace(place, tables={**place.tables, **fresh}))
    if present_slot is not None:
        slot.drop()
    admitted = yield from plan.admitted(feeds, 0)
    seen, present = plan.seen(admitted)
    for ready in create_slot(
        link, slot.name, is_temporary=False, statements=slot.statements, name=book.name, incidents=incidents
    ):
        if ready is None:
            yield SourceBatch()
            time.sleep(0.1)
            continue
        position, exported = ready
        book.durable = book.stored = position
        copying.open(exported, position)
        held = copying.hold(plan.planned(admitted, seen, present))
        epoch = place.epoch + is_resync
        book.save(replace(book.place, phase="ready", epoch=epoch, identity=identity, is_emptied=not is_resync))
        if is_resync:
            yield origin().emptied(feeds.values(), [EMPTIED])
        yield from copying.first(held, {name: present[name] for name in by_table(held)})
