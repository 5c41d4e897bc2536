"""Offices: the programs of all departments of the example city, each with its own database, worked by one thread in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import datetime

import psycopg

from ops.city.city import address
from ops.city.department.database import AWAY, CONNECT_WITHIN_SECONDS
from ops.city.department.postgresql.pipeline import SESSION
from ops.city.firms.registration import CLAIMING, COORDINATOR
from ops.city.office.answering import REGISTERS, Answering
from ops.city.office.car_register import CarRegister
from ops.city.office.claim import Claim
from ops.city.office.commission import Commission
from ops.city.office.conduct import Habits
from ops.city.office.counter import Counter
from ops.city.office.inspection import AGENCIES as TAX_BUREAUS
from ops.city.office.inspection import Inspection
from ops.city.office.pensions import Pensions
from ops.city.office.register import REFUSALS
from ops.city.office.review import Review
from ops.city.office.welfare_desk import WelfareDesk
from ops.city.office.work import Connection, Work

TURN_SECONDS = 1.0
"""Between two turns: offices look into their inboxes, so that what a day brings them costs one query and not one for each row."""

MISSING_TURNS = 5
"""The mesh makes a table or a column of the inbox anew: so long is no reason to say anything."""


class Office:
    """One department's program: its own database, and what it does there. `hindered` is told when it cannot, and why."""

    def __init__(self, agency: str, works: Sequence[Work], dsn: str, hindered: MutableMapping[str, str]) -> None:
        self.agency = agency
        self._works = works
        self._dsn = dsn
        self._hindered = hindered
        self._connection: Connection | None = None
        self._missing = 0
        """For how many turns a table or a column was not there."""

    def turn(self, now: datetime) -> int:
        """Do everything that is due; how many rows were written. What its database refuses is left for the next turn."""
        written, why, is_missing = 0, "", False
        for work in self._works:
            try:
                written += work.do(self._connected(), now)
            except psycopg.errors.DeadlockDetected:
                continue  # somebody else writes the same rows: the next turn looks again
            except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
                is_missing = True
            except psycopg.Error as error:
                why = f"its database refuses what its program writes (SQLSTATE {error.sqlstate})"
                if self._connection is None or self._connection.closed:
                    why = AWAY
                    self.close()
                    break
        self._missing = self._missing + 1 if is_missing else 0
        if self._missing >= MISSING_TURNS and not why:
            why = "a table or a column that its program works on is not there"
        if why:
            self._hindered[self.agency] = why
        else:
            self._hindered.pop(self.agency, None)
        return written

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = psycopg.connect(
                self._dsn,
                autocommit=True,
                application_name=f"mesh-office-{self.agency}",
                options=SESSION,
                connect_timeout=CONNECT_WITHIN_SECONDS,
            )
        return self._connection

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def works_of(agency: str, seed: int, habits: Habits) -> list[Work]:
    """What a department's program does."""
    works: list[Work] = []
    if agency in REFUSALS:
        works.append(Review(agency, seed, habits))
    if agency == "transport":
        works.append(Commission(seed, habits))
    if agency == "police":
        works.append(CarRegister(seed, habits))
    if agency in CLAIMING or agency == COORDINATOR:
        works.append(Claim(agency, seed, habits))
    if agency in TAX_BUREAUS:
        works.append(Inspection(agency, seed, habits))
    if agency in REGISTERS:
        works.append(Answering(agency, seed, habits))
    if agency == "hrss":
        works.append(Pensions())
    if agency == "certs":
        works.append(Counter(seed, habits))
    if agency == "civil":
        works.append(WelfareDesk(seed, habits))
    return works


class Offices:
    """All departments' programs. `clock` is the city's own time; `written` are the rows that they have written.

    `hindered` says which of them cannot do their work now, and why.
    """

    def __init__(
        self,
        dsn_of_agency: Mapping[str, str],
        agencies: Sequence[str],
        *,
        seed: int,
        clock: Callable[[], datetime],
        habits: Habits | None = None,
    ) -> None:
        self.hindered: dict[str, str] = {}
        self._offices = [
            Office(agency, works, address(dsn_of_agency, agency), self.hindered)
            for agency in agencies
            if (works := works_of(agency, seed, habits or Habits()))
        ]
        self._clock = clock
        self.written = 0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        try:
            while not stop.wait(TURN_SECONDS):
                for each in self._offices:
                    if stop.is_set():
                        break
                    self.written += each.turn(self._clock())
        finally:
            for each in self._offices:
                each.close()
