"""Lane: delivers one subscriber's grants through one of its sinks, session after session (session.py).

A lane has its own thread, consumer group, memory bound and retries, so one subscriber's trouble is not another's (invariant 8). What
an error means for it:

| error                          | the lane                                                                                     |
|--------------------------------|----------------------------------------------------------------------------------------------|
| Transient                      | stays in its group and tries again, ever more slowly; counts as parked after a while          |
| Rejected, NotYet, TopicTrouble | goes on with everything else (deferral/)                                                      |
| Gone                           | stops: only a person resumes it                                                              |
| ContractBroken, Misconfigured  | parks, and starts afresh now and then, so that it heals by itself once a person mended it     |
| Fenced                         | starts afresh: joins its group again                                                          |
| Moved                          | the same, and tells: the target went back, or a part of it is filled anew                     |
| anything else                  | parks and starts afresh a few times; nothing was confirmed. The process and the other lanes go on |

The last row departs from "anything else crashes the process": the process holds every subscriber's lane, and a record that trips
our code for one would stop all of them again and again. How long it waits each time, RetryPolicy decides.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from schemas.agreement.ending import Ending
from schemas.errors import Fenced, MeshError
from schemas.trace import described
from sinks.ending import Endings
from sinks.lane.patience import Patience
from sinks.lane.report import LaneReport
from sinks.lane.retry import LaneStoppedError
from sinks.lane.rewind import Rewinds
from sinks.lane.session import LaneSession
from sinks.lane.setup import LaneParts, LaneSetup
from sinks.lane.standstill import Standstill
from sinks.sink import Gone, Moved

logger = logging.getLogger(__name__)


class DeliveryLane:
    """One subscriber's deliveries through one sink."""

    def __init__(
        self,
        setup: LaneSetup,
        *,
        report: LaneReport,
        rewinds: Rewinds,
        endings: Endings,
        standstill: Standstill,
    ) -> None:
        self.setup = setup
        patience = Patience(report.name, setup.policy.retry_for_seconds)
        self._parts = LaneParts(
            report=report, rewinds=rewinds, endings=endings, standstill=standstill, patience=patience
        )
        self._report = report
        self._thread = threading.Thread(target=self._run, name=f"lane {report.name}", daemon=True)

    @property
    def group(self) -> str:
        """The consumer group."""
        return self._report.group

    @property
    def grants(self) -> Mapping[str, str]:
        """The topics that it delivers now with the ids of their grants; none where it is there for ends of grants alone."""
        return self._report.grants

    @property
    def open_grants(self) -> Mapping[str, str]:
        """Those of them that are not held."""
        return {topic: grant_id for topic, grant_id in self._report.grants.items() if topic not in self._report.held}

    @property
    def is_started(self) -> bool:
        """Whether it has begun to deliver."""
        return self._thread.ident is not None

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def follow(
        self,
        grants: Mapping[str, str],
        endings: Sequence[Ending] = (),
        schemas: Mapping[str, int] | None = None,
        past: Sequence[Ending] = (),
        held: Mapping[str, str] | None = None,
    ) -> None:
        """Deliver exactly these grants from now on: `out` topic to grant id (invariant 6); take back what those delivered.

        `held` are topics of these that wait, with the reason. `schemas` has the present value schema of each topic: columns that
        it has not are taken back as well. `past` are ends that were confirmed, and are taken back again where a target was restored
        from a backup of before.
        """
        self._report.held = dict(held or {})
        self._report.grants = dict(grants)
        ends = self._parts.endings
        ends.due, ends.past = endings, past
        ends.schemas = {topic: (grants[topic], number) for topic, number in (schemas or {}).items() if topic in grants}

    def stop(self) -> None:
        """Ask the lane to end after the write it is in."""
        self._parts.stop.set()

    def join(self, within_seconds: float) -> bool:
        """Whether the lane has ended in time."""
        self._thread.join(within_seconds)
        return not self._thread.is_alive()

    # -- sessions ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._report.begun(stands_still=self._parts.standstill.is_kept)
        failures = Counter[type[Exception]]()
        while not self._parts.stop.is_set():
            session = LaneSession(self.setup, self._parts)
            try:
                session.run()
            except LaneStoppedError:
                break
            except Exception as error:  # noqa: BLE001 -- the last row of the table above
                kind = type(error)
                failures[kind] = 1 if session.has_progress else failures[kind] + 1
                self._rest(self._impatient(error), failures[kind])

    def _impatient(self, error: Exception) -> Exception:
        """The error, or Gone where the target was unwell for as long as it may be."""
        if isinstance(error, MeshError) and not isinstance(error, Fenced | Gone):
            try:
                self._parts.patience.failed(error, time.monotonic())
            except Gone as gone:
                return gone
        return error

    def _rest(self, error: Exception, failures: int) -> None:
        """Say what ended a session, after so many in a row that ended so; return when it is time for the next."""
        decision = self.setup.retry.decide(error, failures)
        match error:
            case Gone():
                self._parts.standstill.begin(error.problem)
                self._parts.standstill.until_resumed(self._report, self._parts.stop)
            case Fenced():
                logger.warning("%s: starts afresh: %s", self.group, error)
                if isinstance(error, Moved):
                    self._report.notices.say(self._report.grant_of(error.topic), str(error))
            case MeshError():
                self._report.unwell(error, failures, is_parked=decision.is_parked)
            case _:
                self._report.park(f"unexpected {described(error)}, {failures} in a row")
        if decision.gives_up:
            logger.critical("%s: stays parked until the process restarts or the sink changes", self.group)
        self._parts.stop.wait(None if decision.gives_up else decision.wait_seconds)
