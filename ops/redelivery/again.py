"""Again: changes of the past are appended to an `out` topic once more, and never stay the last of their key over newer ones.

The subscriber's own lane delivers them, in order, and nobody else's; where the target keeps rows, their position guards newer ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ops.redelivery.newest import Newest
from schemas.change import Record
from schemas.dead_letter import REPLAY_COUNT
from schemas.ledger.account import AGAIN
from schemas.log.writer import Log

DURABLE_WITHIN_SECONDS = 60.0
Headers = Sequence[tuple[str, bytes]]


class Past(NamedTuple):
    """A change of the past, with the headers that it gets."""

    record: Record
    headers: Headers


def append_again(log: Log, newest: Newest, changes: Sequence[Past]) -> None:
    """Append the changes, in this order, to the partition that `newest` has read; durable when it returns. Raises Transient.

    The topic had nothing newer of their keys when it was read last.
    """
    moments, topic, partition = newest.moments, newest.topic, newest.partition
    for record, given in changes:
        headers = _marked(given)
        log.append(topic, record.key, record.value, partition=partition, headers=headers)
        if moments.is_removal(record):
            log.append(topic, record.key, None, partition=partition, headers=headers)
    log.flush(DURABLE_WITHIN_SECONDS)
    ours = {record.key: moments.token(record) for record, _ in changes}
    # What egress appended between the look and our record has to be the last of its key again.
    while overtaken := newest.read_on(ours):
        for record in overtaken:
            log.append(topic, record.key, record.value, partition=partition, headers=_marked(record.headers))
        log.flush(DURABLE_WITHIN_SECONDS)


def _marked(headers: Headers | None) -> Headers:
    """Whoever takes over what a stream worker wrote knows these apart."""
    return [*(header for header in headers or () if header[0] != AGAIN), (AGAIN, b"1")]


def counted(headers: Headers | None, count: int) -> Headers:
    """Headers of a change that is delivered again for the time number `count`."""
    others = [header for header in headers or () if header[0] != REPLAY_COUNT]
    return [*others, (REPLAY_COUNT, str(count).encode())]
