"""Records that are larger than the broker takes: a pointer to the row goes to the dead letters in their place (KF-06)."""

from __future__ import annotations

import re

from producers.source import Outgoing
from schemas.dead_letter import DeadLetter
from schemas.errors import Rejected
from schemas.feed import dead_letter_topic
from schemas.log.lane import Lane

_POSITION = re.compile(rb'\["[0-9A-F]{4}","[0-9A-F]{16}","[0-9A-F]{8}"\]')


def append_or_point(lane: Lane, records: list[Outgoing]) -> list[tuple[str, str]]:
    """Append records; feed and reason of each that was too large and left a pointer, so that counts stay true.

    Raises as `Lane.append`.
    """
    start, done = lane.appended, 0
    pointed: list[tuple[str, str]] = []
    while done < len(records):
        try:
            lane.append_all(records[done:] if done else records)
            done = len(records)
        except Rejected as error:
            done = lane.appended - start
            topic, key, value, _, _ = records[done]
            found = _POSITION.search(value or b"")
            letter = DeadLetter(
                topic=topic,
                partition=-1,
                offset=-1,
                key=key,
                value=None,
                hop="capture",
                reason=error.reason,
                detail=f"{len(value or b'')} bytes; select the row by its key",
                position=found.group().decode() if found else "",
            )
            lane.append(dead_letter_topic(topic), key, None, headers=letter.headers())
            done += 1
            pointed.append((topic, error.reason))
    return pointed
