"""Effects: what a batch of a task comes to, to be made durable as one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from schemas.position import Position
from streams.engine.inbox.intake import Outgoing
from streams.operators.flow import Row


class RowChange(msgspec.Struct, frozen=True):
    """A row of a derived feed that came, changed or went. `row_id` is its key as text.

    `about`: of an item of the queue, the subject that says it, and what it stands on (`streams.operators.decided.basis`).
    """

    flow: str
    feed: str
    row_id: str
    before: Row | None
    after: Row | None
    position: Position
    committed_at_ms: int
    reason: str | None
    about: tuple[str, str] | None = None

    @property
    def op(self) -> str:
        """c, u or d, as in the envelope."""
        return "d" if self.after is None else "c" if self.before is None else "u"


@dataclass(slots=True)
class Effects:
    """What a batch came to.

    `changes` are state entries, None for deleted ones; `queued` counts new queue items by kind; `onward` is for the inbox as
    `messages` are, before these, and each for the task named with it.
    """

    changes: dict[bytes, bytes | None] = field(default_factory=dict[bytes, bytes | None])
    rows: list[RowChange] = field(default_factory=list[RowChange])
    messages: list[Outgoing] = field(default_factory=list[Outgoing])
    onward: list[tuple[int, Outgoing]] = field(default_factory=list[tuple[int, Outgoing]])
    queued: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
