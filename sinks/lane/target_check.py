"""Target check: sees now and then whether a lane's target is still where it was left, and tells what is delivered anew."""

from __future__ import annotations

import logging

from schemas.errors import Fenced, MeshError
from schemas.log.reader import Reader
from sinks.lane.report import LaneReport
from sinks.sink import CheckableTarget, Sink

logger = logging.getLogger(__name__)


class TargetCheck:
    """For one session of a lane."""

    def __init__(self, sink: Sink, report: LaneReport, every_seconds: float) -> None:
        self._sink = sink
        self._report = report
        self._every_seconds = every_seconds
        self._checked_at = 0.0

    def check(self, now: float) -> None:
        """Check, when it is time. Raises Moved and Fenced; what else is wrong with the target, the next write tells."""
        if now < self._checked_at + self._every_seconds:
            return
        self._checked_at = now
        self._report.notices.sweep()
        if isinstance(self._sink, CheckableTarget):
            try:
                self._sink.check()
            except Fenced:
                raise
            except MeshError as error:
                logger.debug("%s: cannot check its target: %s", self._report.group, error)

    def tell(self, reader: Reader) -> None:
        """Tell what comes again because the target has less than it was given."""
        while reader.went_back:
            topic, (there, confirmed) = reader.went_back.popitem()
            reason = (
                f"its target is at {there} of {confirmed} delivered: it went back, and is delivered to again from there"
            )
            if isinstance(self._sink, CheckableTarget):
                reason = self._sink.reasons.pop(topic, reason)
            logger.warning("%s: %s: %s", self._report.group, topic, reason)
            if not self._report.notices.said_lately(self._report.grant_of(topic)):
                self._report.notices.say(self._report.grant_of(topic), reason)
