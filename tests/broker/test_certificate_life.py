"""The life of an electronic certificate, end to end: through the running mesh, touching nothing but departments' databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.expression.identifiers import citizen_check
from tests.stage.departments import Departments, department_mesh
from tests.stage.until import until

WITHIN = 120
FIRST = "44010619800101001"
HOLDER = FIRST + citizen_check(FIRST)
CARD = f"{HOLDER}42"
CERTIFICATE, UNKNOWN = (f"00000000-0000-4000-8000-00000000000{number}" for number in "19")
ITEMS = ["姓名", "编号", "残疾类别", "残疾等级"]


class Town(Departments):
    """The federation of disabled persons, and the certificate centre with its counters."""

    def issue(self, cert_id: str) -> None:
        """A disability card, and its electronic certificate."""
        self.issue_card(CARD, HOLDER)
        self.issue_certificate(cert_id, CARD, HOLDER)

    def use(self, use_id: str, cert_id: str, *, result: str = "ACCEPTED", items: list[str] | None = None) -> None:
        """A counter's line in the log, as a clerk writes it."""
        self.run(
            "certs",
            "INSERT INTO public.certificate_use VALUES (%s, %s, 'disabled', 'disabled-001', '440100-CL-03', '办理本事项', %s, %s,"
            " true, %s, %s, 1)",
            use_id, cert_id, self.now, ITEMS if items is None else items, result, self.now,
        )  # fmt: skip

    def standing(self, agency: str, cert_id: str) -> tuple[Any, ...] | None:
        query = "SELECT status, cause FROM mesh.certificate_status WHERE cert_id::text = %s"
        return next(iter(self.run(agency, query, cert_id)), None)

    def judged(self, use_id: str) -> tuple[Any, ...] | None:
        """What the centre hears of a use."""
        query = "SELECT status_at_use, follow_up FROM mesh.certificate_use WHERE use_id = %s"
        return next(iter(self.run("certs", query, use_id)), None)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    tables = {
        "certs": {"certificate", "certificate_use", "certificate_check", "certificate_type"},
        "disabled": {"card"},
    }
    with department_mesh(tmp_path_factory.mktemp("certificate"), ["certificate"], tables) as (mesh, dsns):
        yield Town(mesh, dsns, datetime(2016, 11, 1, 2, 0, tzinfo=UTC))


def show_and_revoke(town: Town) -> None:
    """The card's certificate is issued, shown for a reimbursement, and revoked."""
    if town.standing("certs", CERTIFICATE):
        return
    town.issue(CERTIFICATE)
    for agency in ("certs", "disabled"):
        until(
            lambda agency=agency: town.standing(agency, CERTIFICATE) == ("VALID", "NONE"), WITHIN, f"{agency} sees it"
        )
    town.now += timedelta(hours=1)
    town.use("U1", CERTIFICATE)
    until(lambda: town.judged("U1") == ("VALID", []), WITHIN, "the use is in order")
    case = "SELECT applicant_id, cert_id::text, use_id, state FROM mesh.certificate_reimbursement"
    opened = [(HOLDER, CERTIFICATE, "U1", "OPEN")]
    until(lambda: town.run("disabled", case) == opened, WITHIN, "the reimbursement opens without a paper")
    town.now += timedelta(hours=1)
    town.run(
        "certs",
        "UPDATE certificate SET status = 'REVOKED', status_date = %s, updated_at = %s",
        town.now.date(),
        town.now,
    )
    for agency in ("certs", "disabled"):
        until(
            lambda agency=agency: town.standing(agency, CERTIFICATE) == ("REVOKED", "SOURCE"),
            WITHIN,
            f"{agency} refuses it",
        )


@pytest.mark.timeout(600)
def test_a_disability_card_is_shown_extracted_and_once_revoked_refused_everywhere(town: Town) -> None:
    show_and_revoke(town)
    with town.at_work("certs"):
        town.now += timedelta(days=1)
        query = "SELECT DISTINCT result FROM public.certificate_use WHERE use_id LIKE 'YG%%'"
        until(lambda: town.run("certs", query), WITHIN, "a counter is shown it")
        assert town.run("certs", query) == [("REFUSED",)]
    for feed in ("certificate.status", "certificate.use", "certificate.reimbursement"):
        town.mesh.verified(feed)


@pytest.mark.timeout(600)
def test_a_use_that_was_wrong_is_named_where_it_was_logged(town: Town) -> None:
    show_and_revoke(town)
    town.now += timedelta(hours=1)
    town.use("U2", CERTIFICATE)  # it had been revoked by then
    town.use("U3", UNKNOWN, items=[])  # there is none
    until(lambda: town.judged("U2") == ("REVOKED", ["USED_WHILE_REVOKED"]), WITHIN, "the centre is told")
    until(lambda: town.judged("U3") == ("UNKNOWN", ["CERTIFICATE_UNKNOWN"]), WITHIN, "and of one that nobody issued")
    case = "SELECT use_id FROM mesh.certificate_reimbursement"
    assert town.run("disabled", case) == [("U1",)], "neither opens a case"
