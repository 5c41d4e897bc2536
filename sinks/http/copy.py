"""Copy of what a webhook's receiver was sent, from what it kept: one request's body a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.agreement.grant import Grant
from schemas.contract import Contract
from sinks.copy import Held, by_wire


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookCopy:
    """What a receiver kept; nothing ever came where the file is not there."""

    log: Path

    def held(self, grant: Grant, contract: Contract, /) -> Iterator[Held]:
        """See Copy."""
        if not self.log.exists():
            return
        with self.log.open("rb") as file:  # as bytes: text mode would also break lines where JSON has none
            for line in file:
                body = json.loads(line)
                for change in body if isinstance(body, list) else [body]:
                    if change["grant_id"] == grant.grant_id:
                        row = {**change["key"], **(change["before" if change["op"] == "d" else "after"] or {})}
                        unchanged = tuple(by_wire(dict.fromkeys(change["unchanged"]), contract))
                        yield Held(by_wire(row, contract), change["position"], change["op"], unchanged)

    def values_left(self, _grant: Grant, _contract: Contract, /) -> int:
        """See Copy."""
        return 0
