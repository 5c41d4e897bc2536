"""Offices: the programs of all departments of the example city, each with its own database, worked by one thread in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg

from ops.city.city import address
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
from ops.city.registration import CLAIMING, COORDINATOR
from schemas.errors import Transient

TURN_SECONDS = 1.0
"""Between two turns: offices look into their inboxes, so that what a day brings them costs one query and not one for each row."""

_SESSION = "-c synchronous_commit=off"
_PASSING = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.DeadlockDetected,
)
"""The mesh makes a table or a column of the inbox anew, or somebody else writes the same rows: the next turn looks again."""


@dataclass(frozen=True, slots=True)
class Office:
    """One department's program: its own database, and what it does there."""

    agency: str
    works: Sequence[Work]

    def turn(self, connection: Connection, now: datetime) -> int:
        """Do everything that is due. Raises Transient when the database is gone."""
        written = 0
        for work in self.works:
            try:
                written += work.do(connection, now)
            except _PASSING:
                continue
            except psycopg.OperationalError as error:
                raise Transient(
                    f"agency {self.agency}: the connection to its database broke", fix="see whether its server runs"
                ) from error
        return written


def office(agency: str, seed: int, habits: Habits) -> Office:
    """A department's program."""
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
    return Office(agency, works)


class Offices:
    """All departments' programs. `clock` is the city's own time; `written` are the rows that they have written."""

    def __init__(
        self,
        dsn_of_agency: Mapping[str, str],
        agencies: Sequence[str],
        *,
        seed: int,
        clock: Callable[[], datetime],
        habits: Habits | None = None,
    ) -> None:
        every = [office(agency, seed, habits or Habits()) for agency in agencies]
        self._offices = [(each, address(dsn_of_agency, each.agency)) for each in every if each.works]
        self._clock = clock
        self.written = 0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. Raises Transient when a database is gone."""
        with self._connections() as connections:
            while not stop.wait(TURN_SECONDS):
                for each, connection in connections:
                    if stop.is_set():
                        break
                    self.written += each.turn(connection, self._clock())

    @contextmanager
    def _connections(self) -> Iterator[list[tuple[Office, Connection]]]:
        with ExitStack() as stack:
            yield [(each, stack.enter_context(_connected(each.agency, dsn))) for each, dsn in self._offices]


def _connected(agency: str, dsn: str) -> Connection:
    try:
        return psycopg.connect(dsn, autocommit=True, application_name=f"mesh-office-{agency}", options=_SESSION)
    except psycopg.OperationalError as error:
        raise Transient(
            f"agency {agency}: cannot connect to its database", fix="see whether its server runs"
        ) from error
