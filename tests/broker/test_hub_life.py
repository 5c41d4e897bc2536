"""The life of the hub, end to end: the province's and a district's mesh take part in the city's systems."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops.city.city import GUANGZHOU
from schemas.expression.identifiers import citizen_check
from tests.stage.departments import Departments, department_mesh
from tests.stage.peers import address, anchor, identity_of, mesh_subscriber, write
from tests.stage.running_mesh import RunningMesh
from tests.stage.until import until

WITHIN = 120
REFUSED_WITHIN = 60
FIRST = "44010619800101001"
HOLDER = FIRST + citizen_check(FIRST)
CARD = f"{HOLDER}42"
CERTIFICATE = "00000000-0000-4000-8000-000000000001"
FOOD = "H6201"
TIANHE, YUEXIU = "440106", "440104"
REVIEW = "先照后证：双告知"


@dataclass
class Hub:
    """The city's mesh, and another one that stands for the province in one life and for a district in the other."""

    city: Departments
    other: Departments
    folder: Path

    def lend(self, feed: str) -> None:
        """The other mesh provides a table of its own, and the city takes it as it takes a department's."""
        agency = feed.partition(".")[0]
        grant = mesh_subscriber(self.folder / agency, "city", _key(self.city.mesh), feed=feed, columns=_columns(feed))
        self.other.mesh.done("onboard", grant)
        self._take(self.city.mesh, self.other.mesh, "city", feed)

    def give(self, subscriber: str, feed: str, columns: list[str], **grant: Any) -> None:
        """The city grants the other mesh some rows of a derived feed, which takes them for its own subscribers."""
        granted = mesh_subscriber(
            self.folder, subscriber, _key(self.other.mesh), feed=feed, columns=columns, purpose=REVIEW, **grant
        )
        self.city.mesh.done("onboard", granted)
        self._take(self.other.mesh, self.city.mesh, subscriber, feed, columns)

    def _take(
        self, taker: RunningMesh, giver: RunningMesh, user: str, feed: str, columns: list[str] | None = None
    ) -> None:
        agency, _, table = feed.partition(".")
        source = {"name": "main", "kind": "mesh", "connection": "${MESH_PEER}", "options": {"anchor": _key(giver)}}
        folder = write(self.folder / taker.directory.parent.name / agency, "agency.yaml",
                       {"agency": agency, "name": "上下级平台", "sources": [source]})  # fmt: skip
        contract = _contract(feed)
        contract["gov"].pop("table", None)
        if columns is not None:
            key = contract["gov"]["key"]
            contract["fields"] = [field for field in contract["fields"] if field["name"] in {*key, *columns}]
        write(folder, f"{table}.avsc", contract)
        ran = taker.run("onboard", folder, MESH_PEER=address(giver, user))
        assert ran.status == 0, ran.err


def _contract(feed: str) -> dict[str, Any]:
    agency, _, table = feed.partition(".")
    return json.loads((GUANGZHOU / agency / f"{table}.avsc").read_text())


def _columns(feed: str) -> list[str]:
    return [field["name"] for field in _contract(feed)["fields"]]


def _key(mesh: RunningMesh) -> str:
    return mesh.done("identity")["fingerprint"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    own: Mapping[str, set[str]] = {"aic": {"enterprise", "scope_item"}, "disabled": {"card"}}
    lent: Mapping[str, set[str]] = {"certs": {"certificate"}, "fda": {"registration_claim"}}
    folder = tmp_path_factory.mktemp("hub")
    places = [folder / name for name in ("city", "other")]
    for place in places:
        place.mkdir()
    with (
        department_mesh(places[0], ["certificate", "registration"], own) as (city, city_dsns),
        department_mesh(places[1], [], lent) as (other, other_dsns),
    ):
        now = datetime(2016, 11, 1, 2, 0, tzinfo=UTC)
        for mine, theirs in ((city, other), (other, city)):
            (folder / "anchor.pem").write_text(identity_of(theirs))
            assert anchor(mine, "add", folder / "anchor.pem", name="peer").status == 0
        yield Hub(Departments(city, city_dsns, now), Departments(other, other_dsns, now), folder)


@pytest.mark.timeout(600)
def test_a_certificate_of_the_provinces_is_refused_in_the_city_within_seconds_of_its_being_revoked(hub: Hub) -> None:
    city, province = hub.city, hub.other
    hub.lend("certs.certificate")
    city.issue_card(CARD, HOLDER)
    province.issue_certificate(CERTIFICATE, CARD, HOLDER, issuer="广东省电子证照中心")
    columns = ["type_code", "status", "cause", "since"]
    hub.give("province", "certificate.status", columns)

    def standing() -> tuple[Any, ...] | None:
        query = "SELECT status, cause FROM mesh.certificate_status WHERE cert_id::text = %s"
        return next(iter(city.run("disabled", query, CERTIFICATE)), None)

    def heard() -> list[tuple[str, str]]:
        """What the province hears of it."""
        found = [one.value["after"] for one in province.mesh.seen("certificate.status") if one.value]
        return [(row["status"], row["cause"]) for row in found if row]

    until(lambda: standing() == ("VALID", "NONE"), WITHIN, "the city's counters see it")
    until(lambda: heard()[-1:] == [("VALID", "NONE")], WITHIN, "the province hears that it stands")
    later = city.now + timedelta(hours=1)
    province.run(
        "certs", "UPDATE certificate SET status = 'REVOKED', status_date = %s, updated_at = %s", later.date(), later
    )
    until(lambda: standing() == ("REVOKED", "SOURCE"), REFUSED_WITHIN, "it is refused")
    until(lambda: heard()[-1:] == [("REVOKED", "SOURCE")], WITHIN, "and the province hears that, too")


@pytest.mark.timeout(600)
def test_a_districts_bureau_is_told_of_its_own_firms_alone_and_its_claim_counts_in_the_city(hub: Hub) -> None:
    city, district = hub.city, hub.other
    hub.lend("fda.registration_claim")
    columns = ["ent_id", "item_code", "agency", "district", "item_name", "name", "pushed_at", "due_at"]
    hub.give("tianhe", "registration.push", columns, row_filter=f"agency == 'fda' && district == '{TIANHE}'")
    for ent_id, region in (("E1", TIANHE), ("E2", YUEXIU)):
        city.register_firm(ent_id, reg_region=region)
        city.insert("aic.scope_item", ent_id=ent_id, item_code=FOOD, permit_kind="AFTER")

    def told() -> set[str]:
        """The firms that the district's mesh was told of."""
        return {one.key["ent_id"] for one in district.mesh.seen("registration.push") if one.key is not None}

    def states() -> dict[str, str]:
        found: dict[str, str] = {}
        for one in city.mesh.seen("registration.claim"):
            if one.key is not None and one.value and one.value["after"] and one.key["agency"] == "fda":
                found[one.key["ent_id"]] = one.value["after"]["state"]
        return found

    until(lambda: told() == {"E1"}, WITHIN, "Tianhe is told of its firm")
    until(lambda: states() == {"E1": "PUSHED", "E2": "PUSHED"}, WITHIN, "both firms are waited for")
    district.run(
        "fda",
        "INSERT INTO registration_claim VALUES ('E1', %s, 'fda', 'CLAIM', NULL, NULL, %s, %s, 1)",
        FOOD, city.now, city.now,
    )  # fmt: skip
    until(lambda: states() == {"E1": "CLAIMED", "E2": "PUSHED"}, WITHIN, "what its clerk claims is claimed in the city")
    assert told() == {"E1"}, "never of another district's"
