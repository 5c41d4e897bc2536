"""Feeds whose topic somebody deleted from Kafka: each stops alone, and starts over once its topic is there again (invariant 10).

What stood in the topic is gone for its readers too, so that the feed is copied anew as one that was left out and comes back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from schemas.agreement.directory import FeedEntry
from schemas.errors import Transient
from schemas.feed import dead_letter_topic
from schemas.incident import Incidents
from schemas.log.lane import NoTopic
from schemas.log.writer import Log

LOOK_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class MissingTopics:
    """Of one source; used by its own thread. `changes` counts the times that `without` has come to say something else."""

    def __init__(self, source: str, log: Log, incidents: Incidents) -> None:
        self._source = source
        self._log = log
        self._incidents = incidents
        self._topics: dict[str, str] = {}
        self._looked_at = 0.0
        self.changes = 0

    def take(self, error: Exception, feeds: Mapping[str, FeedEntry]) -> bool:
        """Leave out the feed whose topic an error names; whether there is one that is not left out already."""
        if not isinstance(error, NoTopic):
            return False
        feed = next((name for name in feeds if error.topic in (name, dead_letter_topic(name))), None)
        if feed is None or feed in self._topics:
            return False
        self._topics[feed] = error.topic
        self._looked_at = time.monotonic()
        self.changes += 1
        _logger.error("%s: %s is stopped: topic %s does not exist on the broker", self._source, feed, error.topic)
        return True

    def without(self, feeds: Mapping[str, FeedEntry]) -> Mapping[str, FeedEntry]:
        """The feeds that have their topics."""
        return {feed: entry for feed, entry in feeds.items() if feed not in self._topics} if self._topics else feeds

    def _let_back(self, feeds: Mapping[str, FeedEntry]) -> None:
        try:
            present = self._log.topics()
        except Transient:
            return  # a broker that is away is told by whoever writes to it
        back = {feed for feed in self._topics if {feed, dead_letter_topic(feed)} <= present or feed not in feeds}
        for feed in back:
            del self._topics[feed]
            _logger.info("%s: topic of %s is there again", self._source, feed)
            self._incidents.end("feed", feed)
        self.changes += bool(back)

    def look(self, feeds: Mapping[str, FeedEntry]) -> None:
        """Let feeds come back whose topic is there again; say of the others why they stand."""
        if not self._topics:
            return
        now = time.monotonic()
        if now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            self._let_back(feeds)
        for feed, topic in self._topics.items():
            reason = f"topic {topic} does not exist on the broker: what stood in it is gone, and nothing new is written"
            agency = feed.split(".")[0]
            fix = f"`mesh onboard` the folder of agency {agency}: it makes the topic anew, and the feed is copied by itself"
            self._incidents.begin("feed", feed, state="stopped", reason=reason, fix=fix)
