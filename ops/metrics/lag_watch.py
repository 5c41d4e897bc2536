"""Lag watch: how far a hop that reads feeds is behind, asked of the brokers every few seconds beside the hop's own loop.

A loop that hangs reports nothing; the brokers still know what it has not confirmed. Several workers of one group each report the
whole group's lag, so whoever reads it takes the largest.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing

from ops.watch.lag import LagReader, TopicLag
from ops.watch.offsets.brokers import Brokers
from schemas.agreement.directory import Directory
from schemas.errors import Transient
from schemas.feed import FLOW_INBOX
from schemas.log.kafka import Kafka
from streams.operators.flow import Flow, in_use

LOOK_SECONDS = 5.0
_BEHIND_SECONDS = 60.0

Topics = Callable[[], Iterable[str]]
Report = Callable[[Mapping[str, TopicLag]], None]
BrokersReport = Callable[[Brokers | None], None]
"""The brokers; None while they do not answer."""
FlowReport = Callable[[str, int, float], None]
"""A flow's name, or a task's number as text; records and seconds behind."""

_logger = logging.getLogger(__name__)


class LagWatch:
    """Reports the lag of one consumer group by topic and the brokers until stopped; `topics` are those it should read at any time."""

    def __init__(
        self, kafka: Kafka, group: str, topics: Topics, *reports: Report, brokers: BrokersReport = lambda _: None
    ) -> None:
        self._kafka = kafka
        self._group = group
        self._topics = topics
        self._reports = reports
        self._brokers = brokers

    def run(self, stop: threading.Event) -> None:
        """Look every LOOK_SECONDS; a broker that does not answer is asked again."""
        with closing(LagReader(self._kafka)) as lags:
            while not stop.wait(LOOK_SECONDS):
                try:
                    self._brokers(lags.brokers())
                    found = lags.read({self._group: self._topics()})[self._group]
                except Transient as error:
                    self._brokers(None)
                    _logger.warning("lag of %s: asked again: %s", self._group, error)
                else:
                    for report in self._reports:
                        report(found)


def watching(watch: LagWatch, stop: threading.Event) -> threading.Thread:
    """Watch in a thread of its own, which ends with `stop`."""
    thread = threading.Thread(target=watch.run, args=(stop,), name="lag-watch", daemon=True)
    thread.start()
    return thread


def flow_topics(flows: Sequence[Flow], directory: Directory, inbox: str = FLOW_INBOX) -> list[str]:
    """What the workers of these flows read: their inbox, and the input feeds that are onboarded, of flows that are in use."""
    feeds = {entry.feed for flow in in_use(flows, directory) for entry in flow.inputs}
    return [inbox, *sorted(feeds & directory.feeds.keys())]


def behind(flow: Flow, lags: Mapping[str, TopicLag], inbox: str = FLOW_INBOX) -> tuple[int, float]:
    """Records and seconds that a flow is behind: what it has not taken in, and what lies in the inbox, which all flows share."""
    topics = {inbox, *(entry.feed for entry in flow.inputs)}
    found = [lag for topic, lag in lags.items() if topic in topics]
    return sum(lag.records for lag in found), max((lag.seconds for lag in found), default=0.0)


def flow_report(flows: Sequence[Flow], by_flow: FlowReport, by_task: FlowReport, inbox: str = FLOW_INBOX) -> Report:
    """Reports each flow's lag, and that of each task on its partition of the inbox."""

    def report(lags: Mapping[str, TopicLag]) -> None:
        for flow in flows:
            by_flow(flow.name, *behind(flow, lags, inbox))
        messages = lags.get(inbox)
        for partition, (records, seconds) in (messages.by_partition if messages else {}).items():
            by_task(str(partition), records, seconds)

    return report


def staleness(flow: Flow, lags: Mapping[str, TopicLag]) -> str:
    """Why what a flow publishes is behind the feeds; empty while it is behind by less than a minute."""
    records, seconds = behind(flow, lags)
    if seconds <= _BEHIND_SECONDS:
        return ""
    return f"flow {flow.name} is {records:,} records behind, the oldest of {seconds:,.0f} s ago"
