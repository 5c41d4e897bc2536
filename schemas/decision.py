"""Decision (处理决定): what an officer decides about one item of a flow's queue; it stands on `mesh.decisions`.

The flow's subject takes it as a fact like any other (streams/operators/decided.py): ordered by its place on the topic, so that a
later one, or an undo, takes the place of an earlier one of the same item. It names what it was made upon, and has effect for as long
as the item stands on just that: where other facts come, the item is open again, and where it goes by itself, so does the effect.

| outcome     | what becomes of it                                                                            |
|-------------|------------------------------------------------------------------------------------------------|
| `note`      | taken note of (知悉): the item is settled, nothing else changes                                 |
| `dismiss`   | no conflict after all (不成立): likewise                                                        |
| `hold`      | stays open, and is known to be looked into (挂起)                                               |
| `prefer`    | the row of one feed is right: the other rows of the item count no more (采信)                    |
| `leave-out` | the row of one feed counts no more (剔除)                                                       |
| `accept`    | the row of one feed counts as it is, whatever speaks against it (认可)                           |
| `correct`   | a column of one row counts with another value, for which there is a legal basis (更正)            |
| `answer`    | who is silent counts as having answered so (视同答复)                                            |
| `extend`    | who is silent has until another day (延期)                                                      |
| `undo`      | as though nothing had been decided (撤销)                                                       |

The record names the subject, and may hold a value that corrects another: it is read by the flows alone, and told nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

NOTE, DISMISS, HOLD = "note", "dismiss", "hold"
PREFER, LEAVE_OUT, ACCEPT, CORRECT = "prefer", "leave-out", "accept", "correct"
ANSWER, EXTEND = "answer", "extend"
UNDO = "undo"
OF_ROWS = (PREFER, LEAVE_OUT, ACCEPT, CORRECT)
OF_SILENCE = (ANSWER, EXTEND)
OUTCOMES = (NOTE, DISMISS, HOLD, *OF_ROWS, *OF_SILENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision. `basis` is what the item stood on (streams/operators/decided.py). Moments are microseconds since 1970, UTC.

    `claims` are places in the item's list of claims: the rows that count no more, that count after all, or the one that is
    corrected. `says` is what may be shown of the outcome and its arguments, without a value of a row. `opened_at` is the item's own
    time, by the flow's clock; `at` is when it was decided.
    """

    flow: str
    subject: str = field(repr=False)
    item: str = field(repr=False)
    outcome: str
    says: str
    by: str
    at: int
    opened_at: int
    basis: str = ""
    claims: tuple[int, ...] = ()
    column: str = ""
    value: Any = field(default=None, repr=False)
    verdict: str = ""
    until: int = 0
    reason: str = ""

    @property
    def key(self) -> str:
        """The key of its record: an item has one decision at a time."""
        return json.dumps([self.flow, self.subject, self.item], ensure_ascii=False)

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.decisions`."""
        return {**asdict(self), "claims": list(self.claims)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Decision:
        """Read a record of `mesh.decisions`."""
        return cls(**{**record, "claims": tuple(record["claims"])})
