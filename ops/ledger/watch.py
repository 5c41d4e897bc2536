"""Watch: compares the ledger every few seconds and says as an incident what is red, with the offsets and with what to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection

from ops.host.look_on import look_on
from ops.ledger.balance import Balance, Line
from schemas.incident import Incidents

LOOK_SECONDS = 2.0

_logger = logging.getLogger(__name__)


class LedgerWatch:
    """Compares at each look.

    `balance` reads the ledger and raises Transient; `standing` are the lines that stood as red before this process began; `show` is
    given what each look found.
    """

    def __init__(
        self,
        balance: Callable[[], Balance],
        incidents: Incidents,
        standing: Collection[str] = (),
        show: Callable[[Balance], None] = lambda _: None,
    ) -> None:
        self._balance = balance
        self._show = show
        self._incidents = incidents
        self._told: dict[str, str] = dict.fromkeys(standing, "")

    def look(self) -> None:
        """Compare once."""
        balance = self._balance()
        self._show(balance)
        red = {line.name: line for line in balance.red}
        for name in self._told.keys() - red.keys():
            self._incidents.end("ledger", name)
            del self._told[name]
        for name, line in red.items():
            if name not in self._told:  # said once, with the offsets as narrow as they were then: marks move on
                self._told[name] = reason = "; ".join(map(str, line.differences))
                _logger.error("ledger: %s is red: %s", name, reason)
                self._incidents.begin("ledger", name, state="notice", reason=reason, fix=fix_of(line))


def fix_of(line: Line) -> str:
    """What a person does about a red line."""
    if line.subscriber:
        return (
            f"`mesh verify {line.name}` says which rows differ; `mesh grant {line.name} REVOKED` takes back what was delivered, "
            f"and `mesh grant {line.name} ACTIVE` delivers it anew"
        )
    return f"`mesh resync {line.name}` copies it anew; then `mesh ledger accept {line.name} --reason ...`"


def watching(watch: LedgerWatch, stop: threading.Event) -> threading.Thread:
    """Watch in a thread of its own, which ends with `stop`."""
    return look_on(watch.look, stop, name="ledger-watch", every_seconds=LOOK_SECONDS)
