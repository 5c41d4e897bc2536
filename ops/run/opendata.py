"""Open data as a process: follow the open feeds into the store, and answer from it over HTTP."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from ops.metrics.lag_watch import LagWatch, flow_topics, staleness, watching
from ops.opendata.answers import Answers
from ops.opendata.follow import Follow
from ops.opendata.server import OpenData
from ops.opendata.store import Store
from ops.opendata.terms import SETTING, read_terms
from ops.run.parts import Parts
from ops.watch.lag import FLOWS_GROUP, TopicLag
from schemas.registry.client import RegistryClient
from streams.flows.opendata import FLOW

_logger = logging.getLogger(__name__)


def run_opendata(parts: Parts) -> None:
    """Serve until the process is to stop. Raises what ended the reading of the feeds: answers that no longer follow them are none."""
    settings, stop, entrance = parts.settings, parts.stop, parts.entrance()
    terms = read_terms(Path(os.environ[SETTING])) if os.environ.get(SETTING) else read_terms()
    directory = parts.directory()
    store = parts.enter(closing(Store(settings.directory / "opendata" / f"{parts.name}.sqlite")))
    answers = Answers(store, directory, terms)
    schema_of = RegistryClient(settings.registry).schema
    follow = Follow(kafka=settings.kafka, store=store, directory=directory, schema_of=schema_of)
    failure: list[BaseException] = []

    def reading() -> None:
        try:
            follow.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised below, in the process's own thread
            failure.append(error)
            stop.set()

    thread = threading.Thread(target=reading, name="opendata-follow")
    thread.start()
    behind = [""]

    def look(lags: Mapping[str, TopicLag]) -> None:
        behind[0] = staleness(FLOW, lags)

    watching(LagWatch(settings.kafka, FLOWS_GROUP, lambda: flow_topics([FLOW], directory()), look), stop)
    try:
        server = OpenData(answers, lambda: follow.unwell or behind[0], parts.port, entrance)
        server.run(stop, lambda url: _logger.info("open data: %s", url))
    finally:
        stop.set()
        thread.join()
    if failure:
        raise failure[0]
