"""What polls bring along as a stated source: when a table is asked, and whether for what is new or for everything.

Late commits are found by the overlap, since what was read already differs in nothing and is no change (PT-01); deletes, and rows
that were written past the updated column, by the whole table, which is read now and then (PT-04, PT-05).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from producers.polled.link import PollLink
from producers.polled.options import PolledOptions
from producers.polled.statement import PollStatement
from producers.polled.table import Cursor, token_of
from producers.stated.records import StatedRows
from producers.stated.teller import TableStatement
from producers.stated.zone import zone_of
from schemas.agreement.directory import FeedEntry

STAGED_SECONDS = 60.0
"""So long a poll that waits for a person stands; then the table is read again."""

_logger = logging.getLogger(__name__)


class PollTeller:
    """See `producers.stated.teller.Teller`."""

    connector = "polled"

    def __init__(self, address: str, options: PolledOptions, name: str) -> None:
        self.policy = options
        self._zone = zone_of(options.time_zone, name)
        self._link = PollLink(address, name)
        self._polled: dict[str, float] = {}
        self._at: dict[str, PollStatement] = {}
        self._said: dict[str, Mapping[str, Any]] = {}

    def rows_of(self, entry: FeedEntry) -> StatedRows:
        """See Teller."""
        return StatedRows(entry, self._zone, is_sheet=False)

    def look(self, entry: FeedEntry, about: Mapping[str, Any]) -> TableStatement | None:
        """See Teller."""
        now, feed, options = time.monotonic(), entry.feed, self.policy
        if now - self._polled.get(feed, -options.poll_seconds) < options.poll_seconds:
            return None
        self._polled[feed] = now
        said = self._said.get(feed, about)
        number, cursor = about["number"] + 1, Cursor.from_json(said.get("cursor"))
        whole_ms = said.get("whole_ms", 0)
        is_due = time.time() - whole_ms / 1000 >= options.reconcile_seconds
        is_part = options.updated_column and cursor.value is not None and about["number"] > 0 and not is_due
        self._at[feed] = statement = PollStatement(
            self._link,
            entry.contract,
            options,
            cursor if is_part else None,
            number=number,
            token=token_of(feed, about["epoch"], number),
            whole_ms=whole_ms,
        )
        return statement

    def is_present(self, entry: FeedEntry, about: Mapping[str, Any]) -> bool:
        """See Teller."""
        del about
        return time.monotonic() - self._polled.get(entry.feed, -STAGED_SECONDS) < STAGED_SECONDS

    def taken(self, entry: FeedEntry, about: Mapping[str, Any]) -> None:
        """See Teller."""
        self._said[entry.feed] = about
        statement = self._at.get(entry.feed)
        if statement is not None and statement.is_ahead:
            _logger.warning("%s: rows are newer than the database's clock; each poll reads them again", entry.feed)

    def refused(self, entry: FeedEntry, reason: str) -> None:
        """See Teller."""
        _logger.error("%s: the poll is refused: %s", entry.feed, reason)

    def forget(self, entry: FeedEntry) -> None:
        """See Teller."""
        self._said.pop(entry.feed, None)
        self._polled.pop(entry.feed, None)

    def close(self) -> None:
        """See Teller."""
        self._link.close()
