"""Sight: what the pages look at: the status of the moment, what is onboarded and granted, and what Kafka can be asked.

Nothing is read while nobody looks, and at most once a second however many do: asking for lag costs the broker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from ops.console.frame.trouble import Refused
from ops.settings import Settings
from ops.watch.lag import LagReader
from ops.watch.status_report import Status
from schemas.agreement.directory import Directory
from schemas.errors import Transient

FRESH_SECONDS = 0.9
NEWEST_FRESH_SECONDS = 3.0
SEEN_WITHIN_SECONDS = 10.0


class Sight:
    """Used by the console's event loop; what waits does so in a thread.

    `settings` None: of no mesh but the status alone. `acting`: as whom the acts of the pages enter, the same where it is None.
    """

    def __init__(
        self,
        read: Callable[[], Status],
        directory: Callable[[], Directory] = Directory,
        settings: Settings | None = None,
        acting: Callable[[], Settings] | None = None,
    ) -> None:
        self._read = read
        self.directory = directory
        self._settings = settings
        self._acting = acting
        self._status: Status | None = None
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._lag: LagReader | None = None
        self._newest: Mapping[str, int] = {}
        self._newest_at = float("-inf")
        self._asking = asyncio.Lock()

    @property
    def settings(self) -> Settings:
        """The mesh's. Raises Refused where there is none."""
        if self._settings is None:
            raise Refused(503, "this console looks at no mesh", "start it by `mesh run console`")
        return self._settings

    @property
    def acting(self) -> Settings:
        """The mesh's, entered as the commands enter it: no hop may write what is granted, the console neither."""
        return self._acting() if self._acting else self.settings

    async def until(self, is_so: Callable[[Directory], bool]) -> None:
        """Wait until what was done is seen here too, so that the next page shows it; not for ever."""
        deadline = time.monotonic() + SEEN_WITHIN_SECONDS
        # The directory is followed by a thread that tells nobody.
        while not is_so(self.directory()) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def status(self) -> Status:
        """The status, fresh."""
        async with self._reading:
            if self._status is None or time.monotonic() - self._read_at > FRESH_SECONDS:
                self._status = await asyncio.to_thread(self._read)
                self._read_at = time.monotonic()
            return self._status

    async def newest_at_ms(self) -> Mapping[str, int] | None:
        """When each feed's newest record was written; None where Kafka does not answer at present."""
        async with self._asking:
            if time.monotonic() - self._newest_at > NEWEST_FRESH_SECONDS:
                self._lag = self._lag or LagReader(self.settings.kafka, within_seconds=NEWEST_FRESH_SECONDS)
                try:
                    self._newest = await asyncio.to_thread(self._lag.newest_at_ms, list(self.directory().feeds))
                except Transient:
                    return None
                self._newest_at = time.monotonic()
            return self._newest

    def close(self) -> None:
        """Ask nothing any more."""
        if self._lag is not None:
            self._lag.close()
