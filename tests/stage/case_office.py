"""A case office for the pages: names that schools and the police have otherwise, and parcels whose buyer nobody can identify."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from schemas.expression.identifiers import citizen_check
from tests.stage.departments import Departments, department_mesh
from tests.stage.running_mesh import database

PARCELS = 620
"""More than one transaction of decisions, and more than a page."""
REGISTERED, AT_SCHOOL = "张伟", "刘强"


def citizen(number: int) -> str:
    """A number of somebody born on the first day of 1950."""
    first = f"44010619500101{number:03}"
    return first + citizen_check(first)


PUPILS = [citizen(serial) for serial in (11, 13, 15)]


class CaseOffice(Departments):
    """Police, education and land."""

    def pupil(self, person: str) -> None:
        """Somebody whose name the school has otherwise than the police."""
        self.insert(
            "police.resident", citizen_id=person, name=REGISTERED, sex="1", ethnicity="01", birth_date="1950-01-01",
            hukou_region="440106", hukou_address="天河路1号", household_no="H1", relation_to_head="HEAD", hukou_type="FAMILY",
            status="REGISTERED",
        )  # fmt: skip
        self.insert(
            "edu.student", student_no=f"X{person}", citizen_id=person, name=AT_SCHOOL, school_code="S1", grade=1,
            region="440106", status="ENROLLED", status_date=self.now.date(),
        )  # fmt: skip

    def sell(self, count: int) -> None:
        """Parcels, each to a buyer without a credit code, every fifth of them due since a while."""
        due: list[date] = [(self.now + timedelta(days=-40 if n % 5 == 0 else 20 + n % 90)).date() for n in range(count)]
        with database(self.dsns["land"]) as town, town.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO parcel_sale VALUES (%s, NULL, %s, %s, 5000, 1000000, %s, 0, %s, 1)",
                [(f"GT2016-{n:05}", f"示例置业{n}号公司", f"440106{n:06}", day, self.now) for n, day in enumerate(due)],
            )

    def sell_one(self, contract_no: str) -> None:
        """One parcel more."""
        due = (self.now + timedelta(days=20)).date()
        self.insert(
            "land.parcel_sale", contract_no=contract_no, grantee_uscc=None, grantee_name="示例置业公司",
            parcel_no="440106999999", area_m2=5000, price=1_000_000, due_date=due, paid_amount=0,
        )  # fmt: skip


@contextmanager
def case_office(folder: Path, parcels: int = PARCELS) -> Iterator[CaseOffice]:
    """On a mesh of its own; what it has is under way to the flows."""
    tables = {"police": {"resident"}, "edu": {"student"}, "land": {"parcel_sale"}}
    with department_mesh(folder, ["base", "parcel"], tables) as (mesh, dsns):
        office = CaseOffice(mesh, dsns, datetime(2016, 11, 1, 2, 0, tzinfo=UTC))
        for person in PUPILS:
            office.pupil(person)
        office.sell(parcels)
        yield office
