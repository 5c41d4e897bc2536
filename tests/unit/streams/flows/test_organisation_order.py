"""The organisation archive does not depend on which register speaks first."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from ops.city.numbers import Numbers
from schemas.change import Change
from streams.flows.organisation import FLOW
from tests.stage.registers import (
    CODE,
    ORGANISATION,
    OTHER_CODE,
    OWNER,
    REGISTRATION_NO,
    USCC,
    assert_no_overlap,
    certificate,
    enterprise,
    kinds,
    registration,
    uscc,
)
from tests.stage.rehearsal import Rehearsal, days, interleavings, micros

SEED = 20161031
FEEDS = {"aic": "aic.enterprise", "civil": "civil.social_organisation", "staffing": "staffing.institution"}


def _scenes(city: Rehearsal) -> dict[str, list[Change]]:
    """A few entities' lives with every trouble in them, as one list of changes per feed."""
    told: list[Change] = []
    issue = Numbers()
    third = issue.uscc("91", issue.org_code(is_new=True))

    def note(change: Change) -> None:
        told.append(change)

    note(enterprise(city, registration_no=REGISTRATION_NO))
    note(certificate(city, registration_no=REGISTRATION_NO))
    note(registration(city, f"440199{CODE}"))
    note(registration(city, f"440199{CODE}", office="local_tax", registered_date=days("2009-01-01")))
    note(enterprise(city, "E2", org_code=OTHER_CODE, established=days("2011-01-01")))
    note(enterprise(city, "E3", kind="SOLE_TRADER", name="小店"))
    note(registration(city, f"{OWNER}01", name="小店"))
    note(registration(city, "99999", office="local_tax"))
    city.now = "2015-12-01"
    note(city.update("aic.enterprise", {"ent_id": "E1"}, uscc=USCC))
    note(registration(city, USCC, office="local_tax", uscc=USCC))
    city.now = "2016-01-01"
    note(city.update("aic.enterprise", {"ent_id": "E2"}, uscc=USCC))
    note(
        city.insert(
            "aic.enterprise_change",
            ent_id="E2",
            seq=1,
            item="STATUS",
            new_value="REVOKED",
            changed_date=days("2012-01-01"),
        )
    )
    city.now = "2016-02-01"
    note(city.update("aic.enterprise", {"ent_id": "E1"}, status="DEREGISTERED", status_date=days("2016-01-20")))
    note(city.insert("civil.social_organisation", uscc=third, name="会", kind="FOUNDATION", status="ACTIVE"))
    note(enterprise(city, "E4", uscc=third, established=days("2016-01-01")))
    note(city.update("state_tax.registration", {"tax_no": f"440199{CODE}"}, uscc=third))
    note(city.delete("qts.organisation_code", {"org_code": CODE}))
    note(certificate(city, registration_no=REGISTRATION_NO, issued_date=days("2015-12-05")))
    note(certificate(city, OTHER_CODE))
    feeds: dict[str, list[Change]] = {}
    for change in told:
        feeds.setdefault(change.feed, []).append(change)
    return feeds


def _state(city: Rehearsal) -> dict[str, Any]:
    return {feed: city.rows(feed) for feed in FLOW.outputs}


def test_any_interleaving_of_the_registers_ends_in_the_same_archive() -> None:
    city = Rehearsal(FLOW, now="2015-01-05")
    scenes = _scenes(city)
    city.tick("2016-10-31")
    expected = _state(city)
    found = set(kinds(city))
    assert found >= {"USCC_CLAIMED_TWICE", "NO_MATCH", "PROBABLE"}, "the scenes have their troubles"
    for number, changes in enumerate(interleavings(scenes.values(), seed=SEED, count=100)):
        other = Rehearsal(FLOW, city.contracts)
        other.take(changes)
        other.tick("2016-10-31")
        assert _state(other) == expected, f"seed {SEED}, interleaving {number}"


def _random_world(city: Rehearsal, rng: Random) -> dict[str, list[Change]]:
    """Registers written at random over few numbers, so that everything meets everything."""
    issue = Numbers()
    codes = [issue.org_code(is_new=False) for _ in range(3)]
    usccs = [uscc(code) for code in codes] + [uscc(codes[0], "92"), "bad", None, None]
    registrations = [issue.registration_no(), issue.registration_no(), None]
    tax_nos = [*usccs[:2], *(f"440199{code}" for code in codes), f"{OWNER}01"]
    statuses = ["ACTIVE", "ACTIVE", "REVOKED", "DEREGISTERED", "MOVED_OUT", "?"]

    def day(first: str = "2010-01-01") -> int:
        return days(first) + rng.randrange(2400)

    def draw(feed: str) -> dict[str, Any]:
        ended = {"status_date": rng.choice([None, day()])}
        match feed:
            case "aic.enterprise":
                key = {"ent_id": rng.choice(["E1", "E2", "E3"]), "uscc": rng.choice(usccs), "name": "店"}
                key |= {"org_code": rng.choice([None, None, *codes]), "registration_no": rng.choice(registrations)}
                key |= {
                    "kind": rng.choice(["ENTERPRISE", "SOLE_TRADER"]),
                    "legal_rep_id": OWNER,
                    "reg_region": "440105",
                }
                return key | {"established": rng.choice([day(), None]), "status": rng.choice(statuses), **ended}
            case "aic.enterprise_change":
                key = {"ent_id": rng.choice(["E1", "E2", "E3"]), "seq": rng.randrange(3), "item": "STATUS"}
                return key | {"new_value": rng.choice(statuses), "changed_date": day()}
            case "qts.organisation_code":
                key = {"org_code": rng.choice(codes), "registration_no": rng.choice(registrations)}
                return key | {
                    "issued_date": day(),
                    "valid_to": day(),
                    "status": rng.choice(["VALID", "EXPIRED"]),
                    **ended,
                }
            case "staffing.institution" | "civil.social_organisation":
                return {"uscc": rng.choice(usccs[:4]), "kind": "FOUNDATION", "status": rng.choice(statuses), **ended}
            case _:
                key = {"tax_no": rng.choice(tax_nos), "uscc": rng.choice(usccs), "name": "店", "region": "440105"}
                key |= {"org_code": rng.choice([None, *codes]), "status": rng.choice(["NORMAL", "CANCELLED"]), **ended}
                return key | {"registered_date": rng.choice([None, day()])}

    feeds: dict[str, list[Change]] = {}
    present: dict[tuple[str, str], dict[str, Any]] = {}
    sources = [entry.feed for entry in FLOW.inputs] + ["aic.enterprise"] * 3
    for number in range(30):
        city.now = f"2016-{1 + number // 3:02}-{1 + number % 3 * 9:02}"
        feed = rng.choice(sources)
        row = draw(feed)
        key = tuple(row[name] for name in city.contracts[feed].key)
        place = feed, str(key)
        if place not in present:
            change = city.insert(feed, **row)
        elif rng.random() < 0.2:
            change = city.delete(feed, row)
            del present[place]
            feeds[feed].append(change)
            continue
        else:
            change = city.update(feed, row, **{name: row[name] for name in rng.sample(sorted(row), len(row) // 2)})
        present[place] = row
        feeds.setdefault(feed, []).append(change)
    return feeds


@pytest.mark.parametrize("seed", range(SEED, SEED + 25))
def test_any_interleaving_of_registers_written_at_random_ends_in_the_same_archive(seed: int) -> None:
    city = Rehearsal(FLOW)
    feeds = _random_world(city, Random(seed))
    city.tick("2016-12-31")
    city.check_rows()
    assert "FOLD_FAILED" not in kinds(city)
    assert "NOT_UNDERSTOOD" not in kinds(city)
    expected = _state(city)
    for row in expected[ORGANISATION].values():
        assert_no_overlap(row["status_timeline"])
        assert row["status_timeline"][-1]["status"] == row["status"]
        for entry in row["identifiers"]:
            is_own = entry["source"] == FEEDS[row["organisation_id"].partition(":")[0]]
            if is_own and entry["valid_from"] is not None and entry["valid_to"] is not None:
                assert entry["valid_from"] < entry["valid_to"]
    for number, changes in enumerate(interleavings(feeds.values(), seed=seed, count=8)):
        other = Rehearsal(FLOW, city.contracts)
        other.take(changes)
        other.tick("2016-12-31")
        assert _state(other) == expected, f"seed {seed}, interleaving {number}"


def test_any_interleaving_with_ticks_between_ends_in_the_same_archive() -> None:
    city = Rehearsal(FLOW, now="2015-01-05")
    scenes = _scenes(city)
    city.tick("2016-10-31")
    expected = _state(city)
    for number, changes in enumerate(interleavings(scenes.values(), seed=SEED + 1, count=30)):
        other = Rehearsal(FLOW, city.contracts)
        for change in changes:
            other.take([change])
            other.tick(change.committed_at_ms * 1000)
        other.tick(micros("2016-10-31"))
        assert _state(other) == expected, f"seed {SEED + 1}, interleaving {number}"
