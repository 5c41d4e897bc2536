"""People: households, their births, marriages and deaths, and where its members work and study."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from ops.city import dirt
from ops.city.chance import OPENING, age_of, days_ago
from ops.city.city import City
from ops.city.numbers import fifteen_digits
from ops.city.people import names
from ops.city.people.roll import Row

CITIZENS = 17_080_000
BIRTH_CERTIFICATES_SINCE = 2010


def settle(city: City) -> None:
    """Fill the household registers, then register what happened in the households."""
    target = city.count(CITIZENS)
    rng = city.rng
    while len(city.rolls["police.resident"]) < target:
        _household(city, min(rng.choices((1, 2, 3, 4, 5), (18, 24, 33, 17, 8))[0], _room(city, target)))
    _correct_numbers(city)
    for resident in list(city.rolls["police.resident"]):
        if rng.random() < 0.2 and resident["status"] == "REGISTERED":
            permit(city, resident)


def _room(city: City, target: int) -> int:
    return target - len(city.rolls["police.resident"])


def resident_columns(city: City, *, born: date, sex: str, home: Row, name: str, relation: str) -> Row:
    """A person's (公民) columns in the register; `home` has hukou_region, hukou_address and household_no."""
    rng = city.rng
    number = city.numbers.citizen_id(rng, born, sex)
    chance = rng.random()
    return {
        "citizen_id": dirt.wrong_check(number) if chance < 0.0007 else number,
        "name": dirt.name(rng, name),
        "former_name": name[0] + names.given_name(rng, sex) if rng.random() < 0.03 else None,
        "sex": rng.choice("039") if 0.001 < chance < 0.003 else sex,
        "ethnicity": "01" if rng.random() < 0.97 else f"{int(rng.random() * 55) + 2:02}",
        "birth_date": born,
        "hukou_region": home["hukou_region"],
        "hukou_address": home["hukou_address"],
        "household_no": home["household_no"],
        "relation_to_head": relation,
        "hukou_type": "FAMILY" if rng.random() < 0.93 else "COLLECTIVE",
        "status": "REGISTERED",
        "mobile": mobile(city) if (OPENING - born).days > 5000 else None,
    }


def _register(city: City, *, born: date, sex: str, home: Row, name: str, relation: str) -> Row:
    columns = resident_columns(city, born=born, sex=sex, home=home, name=name, relation=relation)
    row = city.put("police.resident", **columns)
    city.households[row["household_no"]].append(row)
    return row


def new_home(city: City, region: str) -> Row:
    """An empty household at a new address in the district."""
    return {
        "hukou_region": region,
        "hukou_address": names.address(city.rng, region),
        "household_no": f"{region}{city.numbers.serial('household'):09}",
    }


def mobile(city: City) -> str | None:
    """A mobile number, if one is on record; an input method in Chinese mode wrote a few."""
    chance = city.rng.random()
    if chance < 0.2:
        return None
    number = city.numbers.mobile(city.rng)
    return dirt.full_width(number) if chance < 0.205 else number


def _household(city: City, size: int) -> None:
    rng = city.rng
    home = new_home(city, names.region(rng))
    born = days_ago(rng, 20 * 365, 88 * 365)
    sex = rng.choice("12")
    family_name = names.surname(rng)
    head = _register(
        city, born=born, sex=sex, home=home, name=family_name + names.given_name(rng, sex), relation="HEAD"
    )
    spouse = None
    for member in range(1, size):
        if member == 1 and rng.random() < 0.8:
            other = "2" if sex == "1" else "1"
            name = names.surname(rng) + names.given_name(rng, other)
            spouse_born = min(born + timedelta(days=int(rng.gauss(0, 900))), OPENING - timedelta(days=20 * 365))
            spouse = _register(city, born=spouse_born, sex=other, home=home, name=name, relation="SPOUSE")
            if rng.random() < 0.9:
                marry(city, head, spouse, max(born, spouse_born) + timedelta(days=int(rng.uniform(20, 32) * 365)))
        else:
            _relative(city, home, head, spouse, family_name)
    for member in city.households[home["household_no"]]:
        age = age_of(member["birth_date"], OPENING)
        if rng.random() < 0.002 + max(0, age - 50) * 0.003:
            die(city, member)


def _relative(city: City, home: Row, head: Row, spouse: Row | None, family_name: str) -> None:
    rng = city.rng
    sex = rng.choice("12")
    years = rng.uniform(20, 38)
    born = head["birth_date"] + timedelta(days=int(years * 365))
    if born >= OPENING - timedelta(days=60):  # the head is young: a parent lives along
        born = head["birth_date"] - timedelta(days=int(years * 365))
        name = names.surname(rng) + names.given_name(rng, sex)
        _register(city, born=born, sex=sex, home=home, name=name, relation="PARENT")
        return
    child = _register(
        city, born=born, sex=sex, home=home, name=family_name + names.given_name(rng, sex), relation="CHILD"
    )
    if born.year >= BIRTH_CERTIFICATES_SINCE and spouse is not None:
        mother, father = (head, spouse) if head["sex"] == "2" else (spouse, head)
        birth_certificate(city, child, mother, father)


def birth_columns(city: City, child: Row, mother: Row, father: Row | None) -> Row:
    """A birth certificate's (出生医学证明) columns."""
    rng = city.rng
    born: date = child["birth_date"]
    return {
        "cert_no": f"P44{city.numbers.serial('birth'):07}",
        "baby_name": child["name"].strip(),
        "sex": child["sex"],
        "born_at": datetime(born.year, born.month, born.day, int(rng.random() * 24), int(rng.random() * 60)),  # noqa: DTZ001 - the certificate states local time
        "birth_region": names.region(rng),
        "mother_id": mother["citizen_id"],
        "father_id": father["citizen_id"] if father and rng.random() < 0.97 else None,
        "issued_date": born + timedelta(days=3),
    }


def birth_certificate(city: City, child: Row, mother: Row, father: Row | None) -> None:
    """Certify a birth."""
    city.put("health.birth_certificate", **birth_columns(city, child, mother, father))


def marriage_columns(city: City, one: Row, other: Row, day: date, kind: str = "MARRIAGE") -> Row:
    """A marriage registration's (婚姻登记) columns; older ones carry 15-digit numbers and variant names."""
    rng = city.rng
    male, female = (one, other) if one["sex"] == "1" else (other, one)
    write = fifteen_digits if day.year < 2000 and rng.random() < 0.4 else str
    return {
        "marriage_no": f"J440199-{day.year}-{city.numbers.serial('marriage'):07}",
        "kind": kind,
        "registered_date": day,
        "male_id": write(male["citizen_id"]),
        "male_name": dirt.name(rng, male["name"], 0.02),
        "female_id": write(female["citizen_id"]),
        "female_name": dirt.name(rng, female["name"], 0.02),
        "registry": f"广州市{names.REGIONS[one['hukou_region']]}区民政局婚姻登记处",
    }


def marry(city: City, one: Row, other: Row, day: date) -> None:
    """Register a marriage that took place before the opening day."""
    city.put("civil.marriage", **marriage_columns(city, one, other, min(day, OPENING - timedelta(days=1))))


def death_columns(city: City, dead: Row, day: date) -> tuple[Row, Row]:
    """The columns of a death certificate (死亡证明) and of a cremation (火化); one in twenty names no number."""
    rng = city.rng
    number = dead["citizen_id"] if rng.random() < 0.95 else None
    certificate = {
        "cert_no": f"D44{city.numbers.serial('death'):08}",
        "citizen_id": number,
        "name": dead["name"],
        "sex": dead["sex"],
        "birth_date": dead["birth_date"] if number else None,
        "died_at": datetime(day.year, day.month, day.day, int(rng.random() * 24), int(rng.random() * 60)),  # noqa: DTZ001 - the certificate states local time
        "place": rng.choice(("医院", "家中", "养老机构", "途中")),
        "cause_group": rng.choice(("I00-I99", "C00-D48", "J00-J99", "V01-Y98", "E00-E90")),
    }
    cremation = {
        "cremation_no": f"H44{city.numbers.serial('cremation'):08}",
        "citizen_id": number,
        "name": dead["name"].strip(),
        "cremated_date": day + timedelta(days=3),
        "site": rng.choice(("广州市殡仪馆", "番禺区殡仪馆", "花都区殡仪馆")),
    }
    return certificate, cremation


def die(city: City, dead: Row) -> None:
    """Register a death before the opening day."""
    day = days_ago(city.rng, 4, 700)
    if day <= dead["birth_date"]:
        return
    dead["status"], dead["status_date"] = "DECEASED", day + timedelta(days=5)
    certificate, cremation = death_columns(city, dead, day)
    city.put("health.death_certificate", **certificate)
    if city.rng.random() < 0.95:
        city.put("civil.cremation", **cremation)


def permit_columns(city: City, person: Row, day: date) -> Row:
    """A residence permit's (居住证) columns: somebody lives in another district than the register says."""
    rng = city.rng
    region = names.other_region(rng, person["hukou_region"])
    return {
        "permit_no": f"J{region}{city.numbers.serial('permit'):08}",
        "citizen_id": person["citizen_id"],
        "name": dirt.name(rng, person["name"].strip()),
        "residence_region": region,
        "address": names.address(rng, region),
        "valid_from": day,
        "valid_to": day + timedelta(days=365),
        "status": "VALID",
    }


def permit(city: City, person: Row) -> None:
    """Issue a residence permit before the opening day; the oldest have expired."""
    columns = permit_columns(city, person, days_ago(city.rng, 1, 500))
    if columns["valid_to"] < OPENING:
        columns |= {"status": "EXPIRED", "status_date": columns["valid_to"]}
    city.put("police.residence_permit", **columns)


def _correct_numbers(city: City) -> None:
    """Number changes (身份号码变更) of the past: upgrades, shared numbers, wrong birth dates."""
    rng = city.rng
    for _ in range(city.count(60_000)):
        person = city.rolls["police.resident"].pick(rng)
        if person is None:
            return
        old, reason = fifteen_digits(person["citizen_id"]), "UPGRADE_15_TO_18"
        if len(old) == 18:
            old = city.numbers.citizen_id(rng, person["birth_date"], "1")
            reason = "DUPLICATE_NUMBER"
        city.put(
            "police.id_change",
            seq=city.numbers.serial("id_change"),
            old_id=old,
            new_id=person["citizen_id"],
            reason=reason,
            effective_date=days_ago(rng, 30, 5000),
        )
