"""Fatal errors of a producer, which is dead from then on: the client raises them in whatever waits next, be it a close."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException


@contextmanager
def unwrapped() -> Iterator[None]:
    """Let a fatal error out as what it is.

    The client raises it out of a wait for delivery; when a delivery report follows, Python finds the exception already set
    inside that callback and wraps it in a SystemError.
    """
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, KafkaException):
            raise error.__cause__ from None
        raise
