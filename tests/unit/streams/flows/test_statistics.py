from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from ops.city.numbers import Numbers
from schemas.change import Change
from streams.flows.statistics import FLOW
from streams.flows.statistics.place import named
from streams.flows.statistics.settings import age_band, birthday
from tests.stage.rehearsal import Rehearsal, city_contracts, days, interleavings, micros

CONTRACTS = city_contracts()
EPOCH = date(1970, 1, 1)
MERGE = date(2014, 1, 25)
END = date(2014, 6, 20)
BANDS = [(0, 2), (3, 5), (6, 14), (15, 17), (18, 34), (35, 59), (60, 64), (65, 79), (80, 200)]
Key = tuple[str, str, str, str, str]


def person(city: Rehearsal, number: str, **columns: Any) -> None:
    row: dict[str, Any] = {
        "id_type": "CITIZEN_ID",
        "supersedes": [],
        "former_names": [],
        "provenance": [],
        "sex": "1",
        "birth_date": days("1980-05-05"),
        "life_status": "ALIVE",
        "hukou_region": "440106",
        "region_as_of": days(city.now[:10]),
        "base_version": 1,
    }
    city.insert("base.person", id_no=number, **(row | columns))


def organisation(city: Rehearsal, number: str, **columns: Any) -> None:
    row: dict[str, Any] = {
        "identifiers": [],
        "provenance": [],
        "kind": "ENTERPRISE",
        "industry": "F51",
        "reg_region": "440106",
        "region_as_of": days(city.now[:10]),
        "established": days(city.now[:10]),
        "status": "ACTIVE",
        "status_timeline": [],
        "base_version": 1,
    }
    city.insert("base.organisation", organisation_id=f"aic:{number}", **(row | columns))


def settle(city: Rehearsal, moment: str) -> None:
    for hour in ("00", "01", "02", "03"):
        city.tick(f"{moment}T{hour}:00:00+08:00")


def values(city: Rehearsal, statistic: str, scheme: str = "AS_THEN", period: str = "") -> dict[tuple[str, str], int]:
    return {
        (row["region"], row["group"]): row["value"]
        for row in city.rows("city.statistic").values()
        if (row["statistic"], row["region_scheme"]) == (statistic, scheme) and row["period"].startswith(period)
    }


# ── single figures ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_l_persons_by_district_age_band_sex_and_life_status() -> None:
    city = Rehearsal(FLOW, CONTRACTS, now="2016-10-20T10:00:00+08:00")
    person(city, "1")
    person(city, "2", sex="2", residence_region="440104")
    person(city, "3", sex="2", birth_date=days("2001-10-25"))
    settle(city, "2016-10-24")
    assert values(city, "persons", period="2016-10") == {
        ("440106", "sex=1;age=35-59;life=ALIVE"): 1,
        ("440104", "sex=2;age=35-59;life=ALIVE"): 1,
        ("440106", "sex=2;age=6-14;life=ALIVE"): 1,
    }
    settle(city, "2016-10-25")
    assert values(city, "persons", period="2016-10")["440106", "sex=2;age=15-17;life=ALIVE"] == 1
    assert ("440106", "sex=2;age=6-14;life=ALIVE") not in values(city, "persons", period="2016-10")
    city.check_rows()


def test_l_a_late_death_changes_the_past_month_and_a_wrong_one_is_taken_back() -> None:
    city = Rehearsal(FLOW, CONTRACTS, now="2016-09-20T10:00:00+08:00")
    person(city, "1")
    city.now = "2016-11-02T10:00:00+08:00"
    settle(city, "2016-11-02")
    key = {"id_type": "CITIZEN_ID", "id_no": "1"}
    city.update("base.person", key, life_status="DECEASED", death_date=days("2016-10-30"))
    settle(city, "2016-11-03")
    assert values(city, "persons", period="2016-09") == {("440106", "sex=1;age=35-59;life=ALIVE"): 1}
    assert values(city, "persons", period="2016-10") == {("440106", "sex=1;life=DECEASED"): 1}
    assert values(city, "deaths") == {("440106", "sex=1"): 1}
    city.update("base.person", key, life_status="ALIVE", death_date=None)
    settle(city, "2016-11-04")
    assert values(city, "persons", period="2016-10") == {("440106", "sex=1;age=35-59;life=ALIVE"): 1}
    assert not values(city, "deaths")
    city.check_rows()


def test_l_a_version_that_tells_of_an_earlier_day_than_the_one_before_counts_from_its_own() -> None:
    city = Rehearsal(FLOW, CONTRACTS, now="2016-10-20T10:00:00+08:00")
    person(city, "1")
    city.now = "2016-09-10T10:00:00+08:00"  # what a replayed past, or a department's clock put back, tells
    city.update("base.person", {"id_type": "CITIZEN_ID", "id_no": "1"}, residence_region="440104")
    settle(city, "2016-11-02")
    here = {("440104", "sex=1;age=35-59;life=ALIVE"): 1}
    assert values(city, "persons", period="2016-09") == here
    assert values(city, "persons", period="2016-10") == here
    city.check_rows()


def test_l_births_marriages_and_registrations_of_a_day() -> None:
    city = Rehearsal(FLOW, CONTRACTS, now="2016-10-20T10:00:00+08:00")
    born = micros("2016-10-19") + 8 * 3_600_000_000 + 3_600_000_000  # one o'clock, as Beijing's clocks show it
    city.insert("health.birth_certificate", cert_no="B1", sex="2", born_at=born, birth_region="440106")
    office = "广州市越秀区民政局婚姻登记处"
    for number, kind in (("M1", "MARRIAGE"), ("M2", "DIVORCE"), ("M3", "REISSUE")):
        day = days("2016-10-18")
        city.insert("civil.marriage", marriage_no=number, kind=kind, registered_date=day, registry=office)
    organisation(city, "E1", established=days("2016-10-17"), kind="SOLE_TRADER")
    settle(city, "2016-10-21")
    flows = {
        (row["statistic"], row["region"], row["period"], row["group"]): row["value"]
        for row in city.rows("city.statistic").values()
        if row["statistic"] != "organisations" and row["region_scheme"] == "TODAY"
    }
    assert flows == {
        ("births", "440106", "2016-10-19", "sex=2"): 1,
        ("marriages", "440104", "2016-10-18", ""): 1,
        ("divorces", "440104", "2016-10-18", ""): 1,
        ("registrations", "440106", "2016-10-17", "kind=SOLE_TRADER"): 1,
    }
    city.delete("civil.marriage", {"marriage_no": "M1"})
    settle(city, "2016-10-22")
    assert not values(city, "marriages")
    city.check_rows()


def test_l_organisations_by_status_follow_their_timeline() -> None:
    city = Rehearsal(FLOW, CONTRACTS, now="2016-10-20T10:00:00+08:00")
    timeline = [
        {"status": "ACTIVE", "valid_from": days("2014-05-01"), "valid_to": days("2016-08-15")},
        {"status": "REVOKED", "valid_from": days("2016-08-15"), "valid_to": None},
    ]
    organisation(city, "E1", established=days("2014-05-01"), status="REVOKED", status_timeline=timeline)
    settle(city, "2016-10-21")
    series = {
        row["period"]: row["group"].rpartition("=")[2]
        for row in city.rows("city.statistic").values()
        if (row["statistic"], row["region_scheme"]) == ("organisations", "AS_THEN")
    }
    assert (series["2014"], series["2015"], series["2016-07"], series["2016-08"]) == (
        "ACTIVE",
        "ACTIVE",
        "ACTIVE",
        "REVOKED",
    )
    assert min(period for period in series if len(period) == 7) == "2014-11"
    city.check_rows()


def test_l_a_wrong_code_is_named_and_still_counted() -> None:
    city = Rehearsal(FLOW, CONTRACTS, now="2016-10-20T10:00:00+08:00")
    person(city, "1", hukou_region="440116")
    person(city, "2", hukou_region="440199")
    person(city, "3", hukou_region="430102")
    person(city, "4", hukou_region=None)
    settle(city, "2016-10-21")
    assert sorted(item["kind"] for item in city.queue()) == ["REGION_ABOLISHED", "REGION_UNKNOWN"]
    assert Counter({region: value for (region, _), value in values(city, "persons", period="2016-10").items()}) == {
        "440112": 1,
        "000000": 2,
        "999999": 1,
    }
    city.check_rows()


def test_l_a_boundary_drawn_anew_is_no_move_and_a_move_within_todays_boundaries_is_one_as_then_only() -> None:
    city = Rehearsal(FLOW, CONTRACTS, now="2013-06-01T10:00:00+08:00")
    person(city, "1", hukou_region="440116")
    person(city, "2", hukou_region="440116")
    city.now = "2013-07-01T10:00:00+08:00"
    city.update(
        "base.person",
        {"id_type": "CITIZEN_ID", "id_no": "1"},
        hukou_region="440112",
        region_as_of=days("2013-07-01"),
    )
    city.now = "2014-02-10T10:00:00+08:00"
    city.update(
        "base.person",
        {"id_type": "CITIZEN_ID", "id_no": "2"},
        hukou_region="440112",
        region_as_of=days("2014-02-10"),
    )
    settle(city, "2014-03-01")
    assert values(city, "moves") == {("440112", "from=440116"): 1}
    assert not values(city, "moves", "TODAY")


# ── L1 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_l1_a_series_across_a_merge_as_then_and_in_todays_boundaries() -> None:
    city = Rehearsal(FLOW, CONTRACTS, now="2013-11-05T10:00:00+08:00")
    for number, region in enumerate(["440116", "440116", "440112", "440183"]):
        person(city, str(number), hukou_region=region)
    settle(city, "2013-12-15")
    group = "sex=1;age=18-34;life=ALIVE"

    def series(scheme: str) -> dict[tuple[str, str], int]:
        return {
            (row["period"], row["region"]): row["value"]
            for row in city.rows("city.statistic").values()
            if (row["statistic"], row["region_scheme"], row["group"]) == ("persons", scheme, group)
        }

    before = {("2013-12", "440116"): 2, ("2013-12", "440112"): 1, ("2013-12", "440183"): 1}
    assert before.items() <= series("TODAY").items(), "nobody knows of the merge yet"
    settle(city, "2014-02-15")
    after = {("2014-01", "440112"): 3, ("2014-01", "440118"): 1, ("2014-02", "440112"): 3, ("2014-02", "440118"): 1}
    assert series("AS_THEN").items() >= (before | after).items()
    assert ("2014-01", "440116") not in series("AS_THEN")
    assert series("TODAY").items() >= (after | {("2013-12", "440112"): 3, ("2013-12", "440118"): 1}).items()
    assert ("2013-12", "440116") not in series("TODAY")
    scheme_days = {
        (row["region_scheme"], row["period"]): row["region_as_of"] for row in city.rows("city.statistic").values()
    }
    assert scheme_days["AS_THEN", "2013-12"] == days("2013-12-31")
    assert scheme_days["TODAY", "2013-12"] == days("2014-01-25")
    city.check_rows()


# ── the batch recount ────────────────────────────────────────────────────────────────────────────────────────────────


def region_on(code: str | None, as_of: date, day: date) -> str:
    """The recount's own knowledge of the merge of 2014."""
    if code is None or code == "440199":
        return "000000"
    if not code.startswith("4401"):
        return "999999"
    if code in {"440118", "440183"}:
        return "440118" if day >= MERGE else "440183"
    if code in {"440112", "440116"} and day >= MERGE:
        return "440112"
    if code == "440112" and as_of >= MERGE:
        return "000000"  # it may have been either
    return code


def day_of(number: int) -> date:
    return EPOCH + timedelta(days=number)


def periods(end: date) -> Iterator[tuple[str, date]]:
    for year in range(2010, end.year):
        yield str(year), date(year, 12, 31)
    year, month = end.year, end.month
    for _ in range(24):
        following = date(year + month // 12, month % 12 + 1, 1)
        yield f"{year}-{month:02}", min(following - timedelta(days=1), end)
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)


def age_group(born: date | None, day: date) -> str:
    if born is None:
        return "UNKNOWN"
    age = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    low, high = next(band for band in BANDS if band[0] <= age <= band[1])
    return f"{low}-{high}" if high < 200 else f"{low}+"


def schemes(code: str | None, as_of: date, day: date, end: date) -> Iterator[tuple[str, str]]:
    yield "AS_THEN", region_on(code, as_of, day)
    yield "TODAY", region_on(code, as_of, end)


def seat(row: Any) -> tuple[str | None, date]:
    code = row["reg_region"] if "reg_region" in row else row["residence_region"] or row["hukou_region"]
    return code, day_of(row["region_as_of"])


def row_on(versions: list[tuple[date, Any]], day: date) -> Any:
    return next((row for since, row in reversed(versions) if since <= day), None)


def recount_person(versions: list[tuple[date, Any]], end: date, found: Counter[Key]) -> None:
    newest = next(row for _, row in reversed(versions) if row is not None)
    born = day_of(newest["birth_date"]) if newest["birth_date"] is not None else None
    died = day_of(newest["death_date"]) if newest["life_status"] == "DECEASED" else None
    for period, day in periods(end):
        row = row_on(versions, day)
        if row is not None:
            is_dead = died is not None and died <= day
            age = "" if is_dead else f";age={age_group(born, day)}"
            group = f"sex={newest['sex']}{age};life={'DECEASED' if is_dead else 'ALIVE'}"
            for scheme, region in schemes(*seat(row), day, end):
                found["persons", scheme, region, period, group] += 1
    if died is not None and died <= end and versions[-1][1] is not None:
        for scheme, region in schemes(*seat(row_on(versions, died) or versions[0][1]), died, end):
            found["deaths", scheme, region, died.isoformat(), f"sex={newest['sex']}"] += 1
    for (_, before), (day, after) in pairwise(versions):
        if before is not None and after is not None and seat(before)[0] and seat(after)[0]:
            pairs = zip(schemes(*seat(before), day, end), schemes(*seat(after), day, end), strict=True)
            for (scheme, origin), (_, region) in pairs:
                found["moves", scheme, region, day.isoformat(), f"from={origin}"] += origin != region


def recount_organisation(versions: list[tuple[date, Any]], end: date, found: Counter[Key]) -> None:
    known = [(since, row) for since, row in versions if row is not None]
    newest = known[-1][1]
    gone = versions[-1][0] if versions[-1][1] is None else date.max
    established = day_of(newest["established"])
    for period, day in periods(end):
        if established <= day < gone:
            ended = [entry for entry in newest["status_timeline"] if day_of(entry["valid_from"]) <= day]
            status = ended[-1]["status"] if ended else newest["status"]
            group = f"kind={newest['kind']};industry={newest['industry'][:1]};status={status}"
            for scheme, region in schemes(*seat(row_on(known, day) or known[0][1]), day, end):
                found["organisations", scheme, region, period, group] += 1
    if gone == date.max and established >= date(2010, 1, 1):
        for scheme, region in schemes(*seat(row_on(known, established) or known[0][1]), established, end):
            found["registrations", scheme, region, established.isoformat(), f"kind={newest['kind']}"] += 1


def recount(histories: dict[str, dict[str, list[tuple[date, Any]]]], end: date) -> Counter[Key]:
    """Every figure from the whole of the tables' histories: no state, no differences."""
    found = Counter[Key]()
    for versions in histories["base.person"].values():
        recount_person(versions, end, found)
    for versions in histories["base.organisation"].values():
        recount_organisation(versions, end, found)
    for versions in histories["health.birth_certificate"].values():
        row = versions[-1][1]
        if row is not None:
            day = EPOCH + timedelta(microseconds=row["born_at"])
            for scheme, region in schemes(row["birth_region"], day, day, end):
                found["births", scheme, region, day.isoformat(), f"sex={row['sex']}"] += 1
    return +found


REGIONS = ["440106", "440112", "440116", "440183", "440118", "430102", "440199", None]


class History:
    """Two years of changes: people and firms come, move, die, are restored, corrected and deleted."""

    def __init__(self, rng: Random) -> None:
        self.rng, self.numbers, self.day = rng, Numbers(), date(2012, 7, 1)
        self.source = Rehearsal(FLOW, CONTRACTS)
        self.streams: dict[str, list[Change]] = {}
        self.source.take = self._keep  # type: ignore[method-assign]
        happenings = [
            self.settles,
            self.moves,
            self.moves,
            self.dies,
            self.leaves,
            self.founds,
            self.alters,
            self.bears,
        ]
        while self.day < END:
            self.source.now = f"{self.day.isoformat()}T{rng.randrange(0, 24):02}:30:00+08:00"
            for _ in range(rng.randrange(1, 4)):
                rng.choice(happenings)()
            self.day += timedelta(days=rng.randrange(0, 30))

    @property
    def today(self) -> int:
        return (self.day - EPOCH).days

    def _keep(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.streams.setdefault(change.feed, []).append(change)

    def _somebody(self) -> dict[str, str] | None:
        people = sorted(self.source._tables.get("base.person", {}))
        return {"id_type": "CITIZEN_ID", "id_no": self.rng.choice(people).partition("|")[2]} if people else None

    def settles(self) -> None:
        born = self.day - timedelta(days=self.rng.randrange(1, 30000))
        birth = self.rng.choice([(born - EPOCH).days, (born - EPOCH).days, None])
        number, region = self.numbers.citizen_id(self.rng, born, "1"), self.rng.choice(REGIONS)
        person(self.source, number, sex=self.rng.choice("12"), birth_date=birth, hukou_region=region)

    def moves(self) -> None:
        if key := self._somebody():
            column = self.rng.choice(["hukou_region", "residence_region"])
            changed = {column: self.rng.choice(REGIONS), "region_as_of": self.today}
            self.source.update("base.person", key, **changed)

    def dies(self) -> None:
        if key := self._somebody():
            is_dead, sex = self.rng.random() < 0.7, self.rng.choice("12")
            died = self.today - self.rng.randrange(0, 90) if is_dead else None
            status = "DECEASED" if is_dead else "ALIVE"
            self.source.update("base.person", key, life_status=status, death_date=died, sex=sex)

    def leaves(self) -> None:
        if self.rng.random() < 0.5 and (key := self._somebody()):
            self.source.delete("base.person", key)

    def founds(self) -> None:
        number, industry = f"E{self.numbers.serial('firm')}", self.rng.choice(["F51", "H62"])
        established, region = self.today - self.rng.randrange(0, 900), self.rng.choice(REGIONS)
        organisation(self.source, number, reg_region=region, established=established, industry=industry)

    def alters(self) -> None:
        firms = sorted(self.source._tables.get("base.organisation", {}))
        if not firms:
            return
        key = {"organisation_id": self.rng.choice(firms)}
        match self.rng.randrange(5):
            case 0:
                self.source.delete("base.organisation", key)
            case 1 | 2:
                region = self.rng.choice(REGIONS)
                self.source.update("base.organisation", key, reg_region=region, region_as_of=self.today)
            case _:
                since = self.today - self.rng.randrange(0, 60)
                timeline = [
                    {"status": "ACTIVE", "valid_from": -10000, "valid_to": since},
                    {"status": "DEREGISTERED", "valid_from": since, "valid_to": None},
                ]
                self.source.update("base.organisation", key, status="DEREGISTERED", status_timeline=timeline)

    def bears(self) -> None:
        born_at = (self.today - 1) * 86_400_000_000 + self.rng.randrange(86_400) * 1_000_000
        number, code = f"B{self.numbers.serial('birth')}", self.rng.choice(REGIONS)
        self.source.insert("health.birth_certificate", cert_no=number, sex="1", born_at=born_at, birth_region=code)


def histories_of(streams: dict[str, list[Change]]) -> dict[str, dict[str, list[tuple[date, Any]]]]:
    found: dict[str, dict[str, list[tuple[date, Any]]]] = {feed: {} for feed in CONTRACTS}
    for feed, changes in streams.items():
        for change in changes:
            day = EPOCH + timedelta(milliseconds=change.committed_at_ms + 8 * 3_600_000)
            found[feed].setdefault(str(sorted(change.key.items())), []).append((day, change.after))
    return found


@pytest.mark.parametrize("seed", [*range(6), int(os.environ["MESH_CHAOS_SEED"])])  # one for all workers
def test_l_statistics_equal_a_batch_recount_over_any_interleaving(seed: int) -> None:
    rng = Random(seed)
    streams = History(rng).streams
    expected = recount(histories_of(streams), END)
    assert {key[0] for key in expected} >= {"persons", "organisations", "births", "registrations"}
    for order in interleavings(streams.values(), seed, 3):
        city = Rehearsal(FLOW, CONTRACTS)
        clock = date(2012, 7, 1)
        for change in order:
            city.take([change])
            if rng.random() < 0.1:
                clock = min(clock + timedelta(days=rng.randrange(60)), END)
                city.tick(clock.isoformat())
        settle(city, END.isoformat())
        counted = {
            (row["statistic"], row["region_scheme"], row["region"], row["period"], row["group"]): row["value"]
            for row in city.rows("city.statistic").values()
        }
        wrong = {key: (counted.get(key), expected.get(key)) for key in {*counted, *expected}}
        assert not {key: pair for key, pair in wrong.items() if pair[0] != pair[1]}, f"seed {seed}"
        city.check_rows()


# ── small parts ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_was_born_on_a_leap_day_grows_older_on_the_first_of_march() -> None:
    assert birthday(days("1996-02-29"), 18) == days("2014-03-01")
    assert birthday(days("1996-02-29"), 20) == days("2016-02-29")
    assert age_band(days("1996-02-29"), days("2014-02-28")) == "15-17"
    assert age_band(days("1996-02-29"), days("2014-03-01")) == "18-34"


def test_a_district_is_found_in_the_name_of_an_office_as_of_its_day() -> None:
    assert named("广州市萝岗区民政局", days("2013-01-01")) == "440116"
    assert named("广州市萝岗区民政局", days("2016-01-01")) is None
    assert named("佛山市民政局", days("2016-01-01")) is None
