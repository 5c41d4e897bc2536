"""The life of a commercial registration, end to end: through the running mesh, touching nothing but departments' databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.stage.departments import Departments, department_mesh
from tests.stage.until import until

WITHIN = 120
CLAIMING = ("fda", "health", "work_safety")
FOOD, CATERING, CHEMICALS = "H6201", "H6205", "F5106"


class Town(Departments):
    """The commerce administration and three departments that permits are needed from."""

    def found(self, ent_id: str, *items: str) -> None:
        """An enterprise of Tianhe is registered, with items that need a permit afterwards."""
        self.register_firm(ent_id)
        for item in items:
            self.insert("aic.scope_item", ent_id=ent_id, item_code=item, permit_kind="AFTER")

    def pushed(self, agency: str, ent_id: str) -> set[str]:
        """Which items of an enterprise a department was told of."""
        query = "SELECT item_code FROM mesh.registration_push WHERE ent_id = %s"
        return {item for (item,) in self.run(agency, query, ent_id)}

    def claims(self, agency: str, ent_id: str) -> list[tuple[Any, ...]]:
        query = "SELECT item_code, agency, action, reroute_to FROM registration_claim WHERE ent_id = %s"
        return self.run(agency, query, ent_id)

    def act(self, feed: str, ent_id: str, item: str, action: str, agency: str = "", to: str | None = None) -> None:
        """A row in one department's register, as a clerk types it."""
        self.run(
            feed,
            "INSERT INTO registration_claim VALUES (%s, %s, %s, %s, %s, '不属本部门职责', %s, %s, 1)",
            ent_id, item, agency or feed, action, to, self.now, self.now,
        )  # fmt: skip

    def refused(self, agency: str) -> set[tuple[Any, ...]]:
        return set(self.run(agency, "SELECT ent_id, item_code, claimed_for, reason FROM mesh.registration_refusal"))

    def states(self, ent_id: str) -> dict[tuple[str, str], str]:
        """How far the enterprise's items are, as the flow says."""
        found: dict[tuple[str, str], str] = {}
        for one in self.mesh.seen("registration.claim"):
            if one.key is not None and one.key["ent_id"] == ent_id and one.value and one.value["after"]:
                found[one.key["item_code"], one.key["agency"]] = one.value["after"]["state"]
        return found


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    tables = {agency: {"registration_claim"} for agency in ("aic", *CLAIMING)}
    tables["aic"] |= {"enterprise", "scope_item"}
    with department_mesh(tmp_path_factory.mktemp("registration"), ["registration"], tables) as (mesh, dsns):
        yield Town(mesh, dsns, datetime(2016, 11, 1, 2, 0, tzinfo=UTC))


@pytest.mark.timeout(600)
def test_each_department_that_an_item_requires_is_told_and_claims_it(town: Town) -> None:
    town.found("E1", FOOD, CATERING, CHEMICALS)
    with town.at_work(*CLAIMING, "aic"):
        wanted = {(FOOD, "fda"), (CATERING, "fda"), (CATERING, "health"), (CHEMICALS, "work_safety")}
        until(lambda: wanted <= town.states("E1").keys(), WITHIN, "each has an open claim")
        until(lambda: sum(len(town.claims(agency, "E1")) for agency in CLAIMING) >= 4, WITHIN, "each has acted")
    assert town.pushed("fda", "E1") <= {FOOD, CATERING, CHEMICALS}
    for agency in CLAIMING:
        for item, about, action, _ in town.claims(agency, "E1"):
            assert about == agency
            expected = {"CLAIM": "CLAIMED", "REFUSE": "REFUSED", "REROUTE": "REROUTED"}[action]
            until(lambda key=(item, agency), state=expected: town.states("E1")[key] == state, WITHIN, "it counts")


@pytest.mark.timeout(600)
def test_what_is_refused_comes_to_the_coordinator_who_names_another(town: Town) -> None:
    town.found("E2", FOOD)
    until(lambda: town.pushed("fda", "E2") == {FOOD}, WITHIN, "fda is asked")
    town.act("fda", "E2", FOOD, "REFUSE")
    with town.at_work("aic"):
        until(lambda: town.claims("aic", "E2"), WITHIN, "the coordinator has decided")
    [(item, about, action, named)] = town.claims("aic", "E2")
    assert (item, about, action) == (FOOD, "fda", "REROUTE")
    until(lambda: town.pushed(named, "E2") == {FOOD}, WITHIN, "who was named is asked")
    assert named in {"health", "work_safety"}
    town.act(named, "E2", FOOD, "CLAIM")
    until(lambda: town.states("E2")[FOOD, named] == "CLAIMED", WITHIN, "and claims it")
    assert town.pushed("fda", "E2") == set(), "fda is asked no more"


@pytest.mark.timeout(600)
def test_a_claim_of_what_is_not_theirs_is_named_at_the_department_that_made_it(town: Town) -> None:
    town.found("E3", FOOD)
    until(lambda: town.pushed("fda", "E3") == {FOOD}, WITHIN, "fda is asked")
    town.act("health", "E3", FOOD, "CLAIM")
    town.act("work_safety", "E3", FOOD, "CLAIM", agency="fda")
    until(lambda: ("E3", FOOD, "health", "CLAIM_WITHOUT_PUSH") in town.refused("health"), WITHIN, "health is told")
    wrong = ("E3", FOOD, "fda", "CLAIM_OF_ANOTHER")
    until(lambda: wrong in town.refused("work_safety"), WITHIN, "work_safety is told")
    assert town.refused("fda") == set()
    assert town.states("E3") == {(FOOD, "fda"): "PUSHED"}
    for feed in ("registration.push", "registration.refusal", "registration.claim_pool"):
        town.mesh.verified(feed)
