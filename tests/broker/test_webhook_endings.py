"""A receiver of webhooks is told of the end of a grant: one signed post, again until it confirms it, and never after 410."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.agreement.ending import Ending
from schemas.agreement.grant import AtEnd
from schemas.incident import MemoryIncidents
from sinks.ending import AGAIN_SECONDS, Endings
from sinks.http.webhook import WebhookSink
from sinks.sink import Gone
from tests.stage.delivering import OutFeed
from tests.stage.webhooks import Endpoint, sink_to

NOW = 1_700_000_000.0


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def feed() -> OutFeed:
    return OutFeed("bank", "police.person")


@pytest.fixture
def sink(endpoint: Endpoint, feed: OutFeed) -> Iterator[WebhookSink]:
    sink = sink_to(endpoint.url, feed, timeout_seconds=20.0)
    yield sink
    sink.close()


class Ends:
    """One end of a grant that is due, and what was confirmed of it."""

    def __init__(self, feed: OutFeed) -> None:
        self.incidents = MemoryIncidents()
        self.confirmed: list[tuple[str, int | None]] = []
        self.endings = Endings(feed.schemas.__getitem__, self._confirm, self.incidents)
        self.endings.due = [
            Ending(
                topic=feed.topic,
                grant_id=feed.grant.grant.grant_id,
                purpose="test",
                subscriber=feed.subscriber,
                sink="main",
                at_end=AtEnd.REMOVE,
                reason="REVOKED",
                value_schema_id=feed.value_id,
            )
        ]

    def _confirm(self, ending: Ending, removed: int | None) -> None:
        self.confirmed.append((ending.grant_id, removed))

    def states(self) -> list[str]:
        return [incident.state for incident in self.incidents.present().values()]


def test_the_end_of_a_grant_is_posted_until_the_receiver_confirms_it(
    feed: OutFeed, endpoint: Endpoint, sink: WebhookSink
) -> None:
    ends, answers = Ends(feed), iter([503, 200])
    endpoint.answer = lambda _body: next(answers)
    ends.endings.look(sink, NOW)
    assert (ends.confirmed, ends.states()) == ([], ["waiting"]), "not confirmed yet, and told"
    ends.endings.look(sink, NOW + AGAIN_SECONDS - 1)
    assert len(endpoint.came) == 1, "a receiver that is unwell is not pressed"
    ends.endings.look(sink, NOW + AGAIN_SECONDS)
    ends.endings.look(sink, NOW + 3 * AGAIN_SECONDS)
    assert (ends.confirmed, ends.states()) == ([(feed.grant.grant.grant_id, None)], [])
    assert len(endpoint.came) == 2, "once it is confirmed nothing is sent any more"
    (told,) = endpoint.taken
    assert (told["op"], told["reason"], told["grant_id"]) == ("t", "GRANT_ENDED", feed.grant.grant.grant_id)
    assert (told["before"], told["after"], told["key"]) == (None, None, {})
    assert len({headers["webhook-id"] for headers in endpoint.headers}) == 1, (
        "the same message, however often it is sent"
    )


def test_a_receiver_that_is_gone_is_not_told_of_an_end_again(
    feed: OutFeed, endpoint: Endpoint, sink: WebhookSink
) -> None:
    ends = Ends(feed)
    endpoint.answer = lambda _body: 410
    with pytest.raises(Gone):
        ends.endings.look(sink, NOW)
    assert ends.confirmed == []
