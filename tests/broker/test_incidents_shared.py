"""Incidents of two hops about one feed: what one of them ends, though it stands for the other, comes back."""

from __future__ import annotations

from contextlib import ExitStack, closing

import pytest

from ops.watch import incidents
from ops.watch.incidents import IncidentLog, read
from schemas.feed import INCIDENTS
from schemas.incident import key_of
from schemas.log.control.store import ControlStore
from schemas.log.kafka import Kafka
from schemas.log.topics import ensure_control_topics
from schemas.log.writer import Log
from tests.stage.until import until

WITHIN_SECONDS = 60


def test_what_another_hop_ended_stands_again_when_it_is_said_again(
    kafka: Kafka, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incidents, "STALE_SECONDS", 0.2)
    ensure_control_topics(kafka)
    feed = f"{unique}.t"
    key = key_of("feed", feed)
    with ExitStack() as parts:
        log = parts.enter_context(closing(Log(kafka, client_id="test", linger_ms=0)))
        streams, capture = (
            parts.enter_context(closing(IncidentLog(ControlStore(kafka, INCIDENTS, log)))) for _ in range(2)
        )

        def told() -> bool:
            streams.begin("feed", feed, state="stopped", reason="records were removed", fix="`mesh resync`")
            return key in read(kafka)

        until(told, WITHIN_SECONDS, "it stands")
        since = read(kafka)[key].since
        capture.begin("feed", feed, state="waiting", reason="a lock")
        capture.end("feed", feed)  # as at its start, of whatever a former process began
        until(lambda: key not in read(kafka), WITHIN_SECONDS, "the other one ends it")
        until(told, WITHIN_SECONDS, "it stands again")
        assert read(kafka)[key].since > since
        streams.end("feed", feed)
        until(lambda: key not in read(kafka), WITHIN_SECONDS, "it is over")
