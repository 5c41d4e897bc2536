"""A lane whose client dies for good while it is asked, not while something is written."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from schemas.errors import Transient
from schemas.log.lane import Lane, Line


class _DeadProducer:
    """A producer with a fatal error, which the client raises in whatever polls: no broker can be made to cause one at will."""

    def produce(self, *_taken: object) -> None:
        pass

    def poll(self, _seconds: float) -> int:
        raise KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True))


def test_a_client_that_dies_while_its_watermark_is_asked_fails_the_next_write_as_transient() -> None:
    line = Line(_DeadProducer())  # pyright: ignore[reportArgumentType]
    lane = Lane(line)
    lane.append("a.t", b"k", b"v")
    assert lane.acknowledged() == 0
    assert line.is_dead
    for write in (lambda: lane.append("a.t", b"k", b"v"), lambda: lane.flush(1)):
        with pytest.raises(Transient, match="the producer is dead"):
            write()
    assert not lane.settle(0)
