"""Licences, penalties, court lists, permits, household checks and certificates come, change and go."""

from __future__ import annotations

from collections import deque
from datetime import timedelta

from ops.city import firms, names, papers
from ops.city.chance import money
from ops.city.events.person import find, living
from ops.city.roll import Row
from ops.city.scene import Scene

LICENCE, PENALTY, DEBTOR = "fda.licence", "fda.penalty", "court.dishonest_debtor"
BUILDING, CASE, CERTIFICATE = "construction.permit", "civil.check_case", "certs.certificate"
_CASE_NEXT = {"ACCEPTED": "CHECKING", "CHECKING": "REPORTED", "REPORTED": "CLOSED"}


def licence_issued(scene: Scene) -> None:
    """A food or drug licence is issued."""
    firm = find(scene, "aic.enterprise", lambda row: row["status"] == "ACTIVE")
    if firm is not None:
        scene.insert(LICENCE, papers.licence_columns(scene.city, firm, scene.today))


def licence_changes(scene: Scene) -> None:
    """A licence is renewed, changes its item or district, or ends."""
    licence = scene.pick(LICENCE)
    if licence is None:
        return
    choice = scene.rng.random()
    if choice < 0.4:
        until = scene.today + timedelta(days=5 * 365)
        scene.update(LICENCE, licence, valid_to=until, status="VALID", status_date=None)
    elif choice < 0.6:
        scene.update(LICENCE, licence, item_code=scene.rng.choice(firms.ITEMS))
    elif choice < 0.8:
        scene.update(LICENCE, licence, region=names.other_region(scene.rng, licence["region"]))
    else:
        status = scene.rng.choice(("REVOKED", "CANCELLED"))
        scene.update(LICENCE, licence, status=status, status_date=scene.today)


def licence_archived(scene: Scene) -> None:
    """A licence that ended is deleted."""
    licence = find(scene, LICENCE, lambda row: row["status"] != "VALID")
    if licence is not None:
        scene.delete(LICENCE, licence)


def penalty_decided(scene: Scene) -> None:
    """A penalty is decided."""
    firm = scene.pick("aic.enterprise")
    if firm is not None:
        scene.insert(PENALTY, papers.penalty_columns(scene.city, firm, scene.today))


def penalty_revoked(scene: Scene) -> None:
    """A penalty is revoked, or its amount corrected."""
    penalty = scene.pick(PENALTY)
    if penalty is None:
        return
    if scene.rng.random() < 0.5:
        scene.update(PENALTY, penalty, revoked_date=scene.today)
    else:
        scene.update(PENALTY, penalty, amount=money(scene.rng, 500, 50_000))


def penalty_expired(scene: Scene) -> None:
    """A penalty is no longer published and leaves the table."""
    penalty = scene.pick(PENALTY)
    if penalty is not None and len(scene.city.rolls[PENALTY]) > 100:
        scene.delete(PENALTY, penalty)


def debtor_listed(scene: Scene) -> None:
    """A court lists a dishonest debtor (失信被执行人)."""
    scene.insert(DEBTOR, papers.debtor_columns(scene.city, scene.today))


def debtor_removed(scene: Scene) -> None:
    """A debtor has paid and is shielded from the list."""
    debtor = find(scene, DEBTOR, lambda row: row["removed_date"] is None)
    if debtor is not None:
        scene.update(DEBTOR, debtor, removed_date=scene.today)


def debtor_archived(scene: Scene) -> None:
    """An entry that was shielded is deleted."""
    debtor = find(scene, DEBTOR, lambda row: row["removed_date"] is not None)
    if debtor is not None:
        scene.delete(DEBTOR, debtor)


def permit_issued(scene: Scene) -> None:
    """A construction permit is issued."""
    scene.insert(BUILDING, papers.construction_columns(scene.city, scene.today))


def permit_changes(scene: Scene) -> None:
    """A building site stops, goes on or is completed; completed ones are deleted in time."""
    permit = scene.pick(BUILDING)
    if permit is None:
        return
    if permit["status"] == "COMPLETED":
        scene.delete(BUILDING, permit)
    else:
        status = scene.rng.choice(("SUSPENDED", "ISSUED", "COMPLETED", "COMPLETED"))
        scene.update(BUILDING, permit, status=status, status_date=scene.today)


def _cases(scene: Scene) -> deque[dict[str, list[Row]]]:
    return scene.memory.setdefault("cases", deque())


def check_accepted(scene: Scene) -> None:
    """A household check is accepted: the case, its members and their authorisations in one transaction."""
    wanted = papers.check_rows(scene.city, scene.moment)
    _cases(scene).append({feed: [scene.insert(feed, row) for row in rows] for feed, rows in wanted.items()})


def check_moves_on(scene: Scene) -> None:
    """A household check goes one step on, or is withdrawn with the applicant's authorisation."""
    case = find(scene, CASE, lambda row: row["status"] in _CASE_NEXT)
    if case is None:
        return
    if scene.rng.random() < 0.1:
        scene.update(CASE, case, status="WITHDRAWN", status_date=scene.today)
        authorisation = scene.city.rolls["civil.check_authorisation"].get(case["authorisation_id"])
        if authorisation is not None:
            scene.update("civil.check_authorisation", authorisation, revoked_at=scene.moment)
    else:
        scene.update(CASE, case, status=_CASE_NEXT[case["status"]], status_date=scene.today)


def check_archived(scene: Scene) -> None:
    """The oldest of the new checks goes, with everything that hangs on it."""
    cases = _cases(scene)
    if len(cases) > 40:
        for feed, rows in cases.popleft().items():
            for row in rows:
                scene.delete(feed, row)


def certificate_issued(scene: Scene) -> None:
    """A citizen gets an electronic certificate."""
    person = living(scene, 16)
    if person is None:
        return
    number = 3 * int(scene.rng.random() * 46) + 2
    holder = ("CITIZEN_ID", person["citizen_id"], person["name"].strip())
    cert_no = f"Z{scene.today:%Y}{scene.city.numbers.serial('cert_no'):08}"
    columns = papers.certificate_columns(scene.city, f"4401{number:04}", holder, cert_no, scene.today)
    scene.insert(CERTIFICATE, columns)


def certificate_changes(scene: Scene) -> None:
    """A certificate is suspended, restored, revoked, or renewed by a successor; what was revoked is deleted."""
    old = scene.pick(CERTIFICATE)
    if old is None:
        return
    choice = scene.rng.random()
    if old["status"] in {"REVOKED", "CANCELLED"}:
        scene.delete(CERTIFICATE, old)
    elif choice < 0.4:
        status = "VALID" if old["status"] == "SUSPENDED" else "SUSPENDED"
        scene.update(CERTIFICATE, old, status=status, status_date=scene.today)
    elif choice < 0.8:
        scene.update(CERTIFICATE, old, status="REVOKED", status_date=scene.today)
    else:
        holder = (old["holder_id_type"], old["holder_id"], old["holder_name"])
        columns = papers.certificate_columns(scene.city, old["type_code"], holder, old["cert_no"], scene.today)
        columns |= {"version": old["version"] + 1, "previous_cert_id": old["cert_id"]}
        scene.update(CERTIFICATE, old, status="CANCELLED", status_date=scene.today)
        scene.insert(CERTIFICATE, columns)
