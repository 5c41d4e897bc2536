"""Decisions: from a record of `mesh.decisions` to the message by which its subject takes it as a fact.

Stateless and at least once, as all intake: the place on the topic is the position, so what comes again is refused, and of two
decisions about one item the later counts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping

from schemas.change import Record
from schemas.decision import UNDO
from schemas.position import Position
from streams.engine.inbox.intake import REJECTED, Outgoing, check_subject
from streams.engine.inbox.message import FACT, message_key, pack
from streams.operators.flow import DECISION, Flow

_logger = logging.getLogger(__name__)


def decisions(records: Iterable[Record], flows: Mapping[str, Flow]) -> Iterator[Outgoing]:
    """What records of the topic mean to these flows. One that is none is passed over: its item stays open.

    By the flow's clock a decision is of the moment from which its item was there, which that clock has passed, whatever the clock on
    the officer's wall says; its commit is the officer's.
    """
    for record in records:
        try:
            name, subject, item = json.loads(record.key or b"")
            said = json.loads(record.value) if record.value else None
            flow = flows.get(name)
            if flow is None:
                continue  # that is not in use, and says nothing
            if subject.partition(":")[0] != REJECTED:
                check_subject(flow, subject)
            at, opened_at = (0, 0) if said is None else (said["at"], said["opened_at"])
            is_undone = said is None or said["outcome"] == UNDO
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = type(error).__name__  # its text may be quoted
            _logger.error("a decision at %d is not understood (%s): its item stays open", record.offset, what)  # noqa: TRY400
            continue
        position = str(Position(1, record.offset + 1, 0))
        row = None if is_undone else said
        value = [FACT, DECISION, item, position, opened_at, at // 1000, row, False, opened_at // 1000]
        yield Outgoing(message_key(name, subject), pack(value))
