"""A lane whose client dies for good while it is asked, not while something is written."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from schemas.errors import Transient
from schemas.log.lane import Lane, Line


class _DeadProducer:
    """A producer with a fatal error, which the client raises in whatever waits: no broker can be made to cause one at will."""

    def __init__(self, *, is_wrapped: bool) -> None:
        self._is_wrapped = is_wrapped

    def produce(self, *_taken: object) -> None:
        pass

    def poll(self, _seconds: float) -> int:
        fatal = KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True))
        if self._is_wrapped:  # as where a delivery is reported in the same wait
            raise SystemError("returned a result with an exception set") from fatal
        raise fatal

    flush = poll


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_client_that_dies_while_its_watermark_is_asked_fails_the_next_write_as_transient(is_wrapped: bool) -> None:
    line = Line(_DeadProducer(is_wrapped=is_wrapped))  # pyright: ignore[reportArgumentType]
    lane = Lane(line)
    lane.append("a.t", b"k", b"v")
    assert lane.acknowledged() == 0
    assert line.is_dead
    for write in (lambda: lane.append("a.t", b"k", b"v"), lambda: lane.flush(1)):
        with pytest.raises(Transient, match="the producer is dead"):
            write()
    assert not lane.settle(0)
    with pytest.raises(Transient, match="the producer is dead"):
        line.flush(1)
