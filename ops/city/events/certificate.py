"""Certificates are issued, renewed, revoked and checked; at the counters they are used by ops/city/office/counter.py."""

from __future__ import annotations

from ops.city.events.person import living
from ops.city.firms import certificates
from ops.city.firms.certificates import CERTIFICATE, CHECK, USE
from ops.city.scene import Scene


def issued(scene: Scene) -> None:
    """A citizen gets an electronic certificate."""
    person = living(scene, 16)
    if person is None:
        return
    holder = ("CITIZEN_ID", person["citizen_id"], person["name"].strip())
    cert_no = f"Z{scene.today:%Y}{scene.city.numbers.serial('cert_no'):08}"
    type_code = scene.rng.choice(certificates.PERSON_TYPES)
    columns = certificates.certificate_columns(scene.city, type_code, holder, cert_no, scene.today)
    scene.insert(CERTIFICATE, columns)


def changed(scene: Scene) -> None:
    """A certificate is suspended, restored, revoked, or renewed by a successor; what was revoked is deleted."""
    old = scene.pick(CERTIFICATE)
    if old is None:
        return
    choice = scene.rng.random()
    if old["status"] in {"REVOKED", "CANCELLED"}:
        _delete(scene, old)
    elif choice < 0.4:
        status = "VALID" if old["status"] == "SUSPENDED" else "SUSPENDED"
        scene.update(CERTIFICATE, old, status=status, status_date=scene.today)
    elif choice < 0.8:
        scene.update(CERTIFICATE, old, status="REVOKED", status_date=scene.today)
        if scene.rng.random() < 0.1:  # a counter uses it in the same minute
            scene.insert(USE, certificates.use_columns(scene.city, old, scene.now) | {"result": "ACCEPTED"})
    else:
        holder = (old["holder_id_type"], old["holder_id"], old["holder_name"])
        columns = certificates.certificate_columns(scene.city, old["type_code"], holder, old["cert_no"], scene.today)
        columns |= {"version": old["version"] + 1, "previous_cert_id": old["cert_id"]}
        scene.update(CERTIFICATE, old, status="CANCELLED", status_date=scene.today)
        scene.insert(CERTIFICATE, columns)


def _delete(scene: Scene, old: dict[str, object]) -> None:
    check = scene.city.rolls[CHECK].get(old["cert_id"], old["version"])
    if check is not None:
        scene.delete(CHECK, check)
    scene.delete(CERTIFICATE, old)


def checked(scene: Scene) -> None:
    """A certificate's signature is checked, once for each of its versions."""
    certificate = scene.pick(CERTIFICATE)
    if certificate is None:
        return
    if scene.city.rolls[CHECK].get(certificate["cert_id"], certificate["version"]) is None:
        scene.insert(CHECK, certificates.check_columns(scene.city, certificate, scene.now))
