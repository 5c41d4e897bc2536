"""The life of a citizen, end to end: through the running mesh, touching nothing but departments' databases.

From the birth certificate to the cremation five departments write what they see; the archive says it as one person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ops.cli import main
from ops.queue.shown import by_cause
from ops.settings import load
from schemas.expression.identifiers import citizen_check
from schemas.feed import AUDIT
from schemas.log.control.records import read_all
from tests.stage.departments import Departments, department_mesh
from tests.stage.running_mesh import run
from tests.stage.until import until

WITHIN = 120
HELD = "SELECT name FROM base_person WHERE id_no = %s"
CERTIFICATE = "00000000-0000-4000-8000-000000000001"


def citizen(born: str, number: int) -> str:
    first = f"440106{born}{number:03}"
    return first + citizen_check(first)


PUPILS = [citizen("19500101", serial) for serial in (11, 13, 15)]
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

    def pupil(self, person: str, name: str) -> None:
        """A school has somebody under this number, and this name."""
        told = {
            "school_code": "S1",
            "grade": 1,
            "region": "440106",
            "status": "ENROLLED",
            "status_date": self.now.date(),
        }
        self.insert("edu.student", student_no=f"X{person}", citizen_id=person, name=name, **told)

    def held(self, person: str) -> str | None:
        """The name, masked, that the pension centre holds of somebody."""
        return next((name for (name,) in self.run("pension_centre", HELD, person)), None)

    def queue(self, verb: str, *arguments: str) -> Result:
        """`mesh queue …`"""
        return CliRunner().invoke(main, ["queue", verb, "--dir", str(self.mesh.directory), "--json", *arguments])

    def waiting(self) -> dict[str, int]:
        """The conflicts of names by state."""
        causes = by_cause(load(self.mesh.directory), "person").causes
        return next((dict(each.counts) for each in causes if each.cause == "NAME_CONFLICT"), {})

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
        "pension_centre": set[str](),
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


@pytest.mark.timeout(600)
def test_an_officer_decides_whose_name_a_number_carries_and_takes_it_back(town: Town) -> None:
    for person in PUPILS:
        town.register(person, "张伟", "1950-01-01")
        town.pupil(person, "刘强")
    one = PUPILS[0]
    until(lambda: town.waiting() == {"open": 3}, WITHIN, "the queue has them")
    until(lambda: town.held(one), WITHIN, "the pension centre has the person")
    register = town.held(one)
    listed = town.queue("list", "--cause", "NAME_CONFLICT")
    item = next(
        each["item"]
        for each in json.loads(listed.stdout)["items"]
        if one in str(json.loads(town.queue("show", each["item"], "--reveal").stdout)["subjects"])
    )
    shown = town.queue("show", item)
    assert json.loads(shown.stdout)["may_be"][3:5] == ["prefer <feed>", "leave-out <feed>"]

    refused = town.queue("decide", item, "prefer", "civil.marriage", "--reason", "核对")
    assert (refused.exit_code, "name one of edu.student, police.resident" in refused.stderr) == (1, True), (
        refused.stderr
    )
    dry = town.queue("decide", item, "prefer", "edu.student", "--reason", "核对", "--dry-run")
    assert (json.loads(dry.stdout)["decided"], town.waiting()) == (
        [{"flow": "person", "cause": "NAME_CONFLICT", "items": 1}],
        {"open": 3},
    )
    assert (
        town.queue("decide", item[:8], "prefer", "edu.student", "--reason", "核对 2026-114", "--by", "陈某").exit_code
        == 0
    )
    until(lambda: town.held(one) not in {None, register}, WITHIN, "the pension centre holds the other name")
    until(lambda: town.waiting() == {"open": 2, "settled": 1}, WITHIN, "the item is settled")
    again = town.queue("decide", item, "prefer", "edu.student", "--reason", "核对")
    assert (json.loads(again.stdout)["decided"], json.loads(again.stdout)["already"]) == ([], 1)
    shown = town.queue("show", item)
    assert (
        json.loads(shown.stdout)["decision"],
        json.loads(shown.stdout)["decided_by"],
        json.loads(shown.stdout)["reason"],
    ) == (
        "prefer edu.student",
        "陈某",
        "核对 2026-114",
    )
    assert town.queue("undo", item, "--reason", "误判").exit_code == 0
    until(lambda: town.held(one) == register, WITHIN, "it is as though nothing had been decided")
    until(lambda: town.waiting() == {"open": 3}, WITHIN, "and the item waits again")
    printed = "".join(each.output for each in (listed, refused, dry, again, shown))
    assert not [value for value in (*PUPILS, "张伟", "刘强") if value in printed]


@pytest.mark.timeout(600)
def test_a_whole_cause_is_decided_at_once_and_opens_again_where_the_facts_change(town: Town) -> None:
    bulk = town.queue("decide", "--cause", "NAME_CONFLICT", "prefer", "police.resident", "--reason", "以公安为准")
    assert [each["items"] for each in json.loads(bulk.stdout)["decided"]] == [3]
    until(lambda: town.waiting() == {"settled": 3}, WITHIN, "all are settled")
    town.run("edu", "UPDATE student SET name = '王强', source_row_version = 2 WHERE citizen_id = %s", PUPILS[0])
    until(lambda: town.waiting() == {"open again": 1, "settled": 2}, WITHIN, "what was decided upon is no more")
    town.run("edu", "UPDATE student SET name = '张伟', source_row_version = 3 WHERE citizen_id = %s", PUPILS[0])
    until(lambda: town.waiting() == {"settled": 2}, WITHIN, "the conflict is mended, and its item gone")
    undone = town.queue("undo", "--cause", "NAME_CONFLICT", "--reason", "重新核对")
    assert [each["items"] for each in json.loads(undone.stdout)["decided"]] == [2]
    until(lambda: town.waiting() == {"open": 2}, WITHIN, "both wait again")
    refused = town.queue("decide", "--cause", "NAME_CONFLCT", "note", "--reason", "x")
    assert (refused.exit_code, "did you mean `NAME_CONFLICT`?" in refused.stderr) == (1, True)

    lines = [line for _, _, line in read_all(town.mesh.kafka, [AUDIT]) if line["what"].startswith("queue")]
    by_what = {what: [line for line in lines if line["what"] == what] for what in {line["what"] for line in lines}}
    assert [line["count"] for line in by_what["queue decide"]] == [1, 3]
    assert [line["count"] for line in by_what["queue undo"]] == [1, 2]
    assert by_what["queue revealed"]
    assert len(by_what["queue decide refused"]) == 2
    assert (by_what["queue decide"][0]["by"], by_what["queue decide"][1]["reason"]) == ("陈某", "以公安为准")
    assert not [value for value in (*PUPILS, "张伟", "刘强") if value in str(lines)]
    assert run("audit", "verify", "--dir", town.mesh.directory).status == 0
    town.mesh.verified("base.person")
