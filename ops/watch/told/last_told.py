"""What feeds were told last, where their source tells tables instead of following them: by the source's record on `mesh.capture`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ops.kinds.sources import kind_of
from ops.watch.incidents import FRESH_SECONDS
from schemas.agreement.directory import Directory
from schemas.feed import CAPTURE
from schemas.log.control.store import ControlReader
from schemas.log.kafka import Kafka


class LastTold:
    """Asks the broker only where there is such a feed."""

    def __init__(self, kafka: Kafka, *, within_seconds: float = 10.0) -> None:
        self._reader = ControlReader(kafka, CAPTURE)
        self._within_seconds = within_seconds
        self._read_at = float("-inf")
        self._records: Mapping[str, Any] = {}

    def __call__(self, directory: Directory) -> Mapping[str, str]:
        """By feed, in words. Raises Transient."""
        words = {
            feed: (kind.last, entry.contract.source_name)
            for feed, entry in directory.feeds.items()
            if (kind := kind_of(directory.agencies.get(entry.contract.agency), entry.contract.source)).last
        }
        if words and time.monotonic() - self._read_at > FRESH_SECONDS:
            self._records = self._reader.all(within_seconds=self._within_seconds)
            self._read_at = time.monotonic()
        return {feed: last(self._records.get(source), feed) for feed, (last, source) in words.items() if last}
