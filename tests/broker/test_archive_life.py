"""The life of a citizen, end to end: through the running mesh, touching nothing but departments' databases.

From the birth certificate to the cremation five departments write what they see; the archive says it as one person.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.expression.identifiers import citizen_check
from tests.stage.departments import Departments, department_mesh
from tests.stage.until import until

WITHIN = 120
CERTIFICATE = "00000000-0000-4000-8000-000000000001"


def citizen(born: str, number: int) -> str:
    first = f"440106{born}{number:03}"
    return first + citizen_check(first)


OLD, CHILD, MOTHER = citizen("19400101", 1), citizen("20161101", 3), citizen("19900101", 2)


class Town(Departments):
    """Health, police, civil affairs, education, social security, and the certificate centre."""

    def register(self, person: str, name: str, born: str) -> None:
        """The police have somebody in the register of residents."""
        self.run(
            "police",
            "INSERT INTO resident (citizen_id, name, sex, ethnicity, birth_date, hukou_region, hukou_address, household_no,"
            " relation_to_head, hukou_type, status, updated_at, source_row_version) VALUES (%s, %s, '1', '01', %s, '440106',"
            " '天河路1号', 'H1', 'HEAD', 'FAMILY', 'REGISTERED', %s, 1)",
            person, name, born, self.now,
        )  # fmt: skip

    def police_say(self, status: str, since: str | None) -> None:
        """The old person's status in the register changes."""
        self.run(
            "police",
            "UPDATE resident SET status = %s, status_date = %s, updated_at = %s, source_row_version = source_row_version + 1"
            " WHERE citizen_id = %s",
            status, since, self.now, OLD,
        )  # fmt: skip

    def person(self, number: str) -> dict[str, Any] | None:
        """The archive's record, as it stands."""
        found = None
        for one in self.mesh.seen("base.person"):
            if one.key is not None and one.key["id_no"] == number:
                found = one.value["after"] if one.value else None
        return found

    def lived(self, number: str) -> set[str]:
        """What the archive says happened to somebody."""
        rows = [one.value["after"] for one in self.mesh.seen("base.person_event") if one.value and one.value["after"]]
        return {row["kind"] for row in rows if row["id_no"] == number}

    def life_status(self, number: str) -> str | None:
        found = self.person(number)
        return found["life_status"] if found else None

    def pensions(self) -> dict[str, str]:
        """The payments to the old person: month to status."""
        return dict(self.run("hrss", "SELECT period, status FROM pension_payment WHERE citizen_id = %s", OLD))

    def pay(self, period: str) -> None:
        self.run(
            "hrss",
            "INSERT INTO pension_payment VALUES (%s, %s, 3000, %s, 'PAID', NULL, %s, 1)",
            OLD,
            period,
            self.now,
            self.now,
        )

    def standing(self) -> tuple[Any, ...] | None:
        """What counters see of the old person's certificate."""
        return next(iter(self.run("certs", "SELECT status, cause FROM mesh.certificate_status")), None)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    tables = {
        "health": {"birth_certificate", "death_certificate"},
        "police": {"resident"},
        "civil": {"cremation", "marriage"},
        "edu": {"student"},
        "hrss": {"pension_payment"},
        "certs": {"certificate"},
    }
    with department_mesh(tmp_path_factory.mktemp("archive"), ["base", "certificate"], tables) as (mesh, dsns):
        yield Town(mesh, dsns, datetime(2016, 11, 1, 2, 0, tzinfo=UTC))


@pytest.mark.timeout(600)
def test_five_departments_tell_one_life(town: Town) -> None:
    town.register(MOTHER, "王芳", "1990-01-01")
    town.run(
        "health",
        "INSERT INTO birth_certificate VALUES ('B1', '张小明', '1', '2016-11-01 09:00', '440106', %s, NULL, '2016-11-02', %s, 1)",
        MOTHER, town.now,
    )  # fmt: skip
    town.register(CHILD, "张小明", "2016-11-01")
    until(lambda: {"BIRTH", "HUKOU"} <= town.lived(CHILD), WITHIN, "the child was born and registered")
    town.run(
        "civil",
        "INSERT INTO marriage VALUES ('M1', 'MARRIAGE', '2015-05-01', %s, '张伟', %s, '王芳', '天河', %s, 1)",
        OLD, MOTHER, town.now,
    )  # fmt: skip
    until(lambda: "MARRIAGE" in town.lived(MOTHER), WITHIN, "the mother had married")
    assert town.life_status(CHILD) == "ALIVE"


@pytest.mark.timeout(600)
def test_a_death_stops_the_pension_and_a_wrong_one_restores_it_and_the_certificate(town: Town) -> None:
    town.register(OLD, "张伟", "1940-01-01")
    town.issue_certificate(
        CERTIFICATE,
        "Z1",
        OLD,
        type_code="44010022",
        holder_name="张伟",
        issue_date="2016-10-01",
        valid_from="2016-10-01",
    )
    town.pay("201610")
    with town.at_work("hrss", "certs"):
        until(lambda: town.life_status(OLD) == "ALIVE", WITHIN, "the archive has the person")
        until(lambda: town.standing() == ("VALID", "NONE"), WITHIN, "the certificate is good")
        town.now = datetime(2016, 11, 8, 2, 0, tzinfo=UTC)
        town.run(
            "health",
            "INSERT INTO death_certificate VALUES ('D1', %s, '张伟', '1', '1940-01-01', '2016-11-07 08:00', '医院', '心脏', %s, 1)",
            OLD, town.now,
        )  # fmt: skip
        until(lambda: town.life_status(OLD) == "UNKNOWN", WITHIN, "one paper is not enough")
        town.police_say("DECEASED", "2016-11-08")
        town.run(
            "civil", "INSERT INTO cremation VALUES ('C1', %s, '张伟', '2016-11-08', '殡仪馆', %s, 1)", OLD, town.now
        )
        until(lambda: town.life_status(OLD) == "DECEASED", WITHIN, "police and health agree")
        until(lambda: town.standing() == ("SUSPENDED", "HOLDER_DEAD"), WITHIN, "no counter takes the certificate")
        town.pay("201611")
        town.pay("201612")
        stopped = {"201610": "PAID", "201611": "PAID", "201612": "STOPPED"}
        until(lambda: town.pensions() == stopped, WITHIN, "nothing is paid for the months after the death")
        town.now = datetime(2016, 12, 20, 2, 0, tzinfo=UTC)
        town.run("health", "DELETE FROM death_certificate")
        town.run("civil", "DELETE FROM cremation")
        town.police_say("REGISTERED", None)
        until(lambda: town.life_status(OLD) == "ALIVE", WITHIN, "it was somebody else")
        until(lambda: set(town.pensions().values()) == {"PAID"}, WITHIN, "the pension is restored")
        until(lambda: town.standing() == ("VALID", "NONE"), WITHIN, "and so is the certificate")
    for feed in ("base.person_event", "certificate.status"):
        town.mesh.verified(feed)
