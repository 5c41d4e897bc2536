"""Life events of people, as police, health, civil affairs, schools and the disabled persons' federation record them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from ops.city.chance import age_of
from ops.city.people import livelihood, names, people
from ops.city.people.roll import Row
from ops.city.scene import Scene

RESIDENT = "police.resident"
_TRIES = 12
_REPORTED_MAX = 50
"""The newest deaths, any of which may still turn out to be a mistake."""


def find(scene: Scene, feed: str, fits: Callable[[Row], bool]) -> Row | None:
    """A row that fits, if a few draws find one."""
    for _ in range(_TRIES):
        row = scene.pick(feed)
        if row is not None and fits(row):
            return row
    return None


def living(scene: Scene, youngest: int = 0, oldest: int = 130, sex: str = "12") -> Row | None:
    """A registered resident of an age."""

    def fits(row: Row) -> bool:
        is_here = row["status"] == "REGISTERED" and row["sex"] in sex
        return is_here and youngest <= age_of(row["birth_date"], scene.today) <= oldest

    return find(scene, RESIDENT, fits)


def _leave_household(scene: Scene, person: Row) -> None:
    number = person["household_no"]
    left = [member for member in scene.city.households[number] if member is not person]
    if left:
        scene.city.households[number] = left
    else:
        del scene.city.households[number]


def _join_household(scene: Scene, person: Row, home: Row, relation: str) -> None:
    _leave_household(scene, person)
    columns = {name: home[name] for name in ("hukou_region", "hukou_address", "household_no")}
    scene.update(RESIDENT, person, relation_to_head=relation, **columns)
    scene.city.households[home["household_no"]].append(person)


def birth(scene: Scene) -> None:
    """A child is born, certified and registered."""
    mother = living(scene, 20, 44, "2")
    if mother is None:
        return
    family = scene.city.households[mother["household_no"]]
    father = next((member for member in family if member["sex"] == "1" and member["relation_to_head"] != "CHILD"), None)
    sex = scene.rng.choice("12")
    surname = (father or mother)["name"][0]
    name = surname + names.given_name(scene.rng, sex)
    columns = people.resident_columns(
        scene.city, born=scene.today - timedelta(days=2), sex=sex, home=mother, name=name, relation="CHILD"
    )
    scene.insert("health.birth_certificate", people.birth_columns(scene.city, columns, mother, father))
    child = scene.insert(RESIDENT, columns)
    scene.city.households[child["household_no"]].append(child)


def household_moves(scene: Scene) -> None:
    """A household moves to another district: every member leaves one district's rows and enters another's."""
    person = living(scene, 18)
    if person is None:
        return
    region = names.other_region(scene.rng, person["hukou_region"])
    place = names.address(scene.rng, region)
    for member in scene.city.households[person["household_no"]]:
        if member["status"] == "REGISTERED":
            scene.update(RESIDENT, member, hukou_region=region, hukou_address=place)


def person_moves(scene: Scene) -> None:
    """One person sets up a household elsewhere."""
    person = living(scene, 18)
    if person is not None:
        _join_household(scene, person, people.new_home(scene.city, names.region(scene.rng)), "HEAD")


def mobile_changes(scene: Scene) -> None:
    """A resident reports another mobile number."""
    person = living(scene, 14)
    if person is not None:
        scene.update(RESIDENT, person, mobile=people.mobile(scene.city))


def name_changes(scene: Scene) -> None:
    """A resident takes another name; the register keeps the former one (曾用名)."""
    person = living(scene)
    if person is not None:
        name = person["name"][0] + names.given_name(scene.rng, person["sex"])
        scene.update(RESIDENT, person, name=name, former_name=person["name"].strip())


def number_changes(scene: Scene) -> None:
    """A wrong or shared number is replaced: the person's key changes, and a row says from which to which."""
    person = living(scene)
    if person is None:
        return
    old = person["citizen_id"]
    new = scene.city.numbers.citizen_id(scene.rng, person["birth_date"], person["sex"])
    columns = {
        "seq": scene.city.numbers.serial("id_change"),
        "old_id": old,
        "new_id": new,
        "reason": scene.rng.choice(("DUPLICATE_NUMBER", "WRONG_NUMBER")),
        "effective_date": scene.today,
    }
    scene.insert("police.id_change", columns)
    scene.update(RESIDENT, person, citizen_id=new)


def wedding(scene: Scene) -> None:
    """Two residents marry, and one of them joins the other's household."""
    one, other = living(scene, 20, 60, "1"), living(scene, 20, 60, "2")
    if one is None or other is None:
        return
    scene.insert("civil.marriage", people.marriage_columns(scene.city, one, other, scene.today))
    _join_household(scene, other, one, "SPOUSE")


def divorce(scene: Scene) -> None:
    """A marriage ends: a new registration, the old one stands."""
    marriage = find(scene, "civil.marriage", lambda row: row["kind"] == "MARRIAGE")
    if marriage is None:
        return
    number = f"L440199-{scene.today.year}-{scene.city.numbers.serial('marriage'):07}"
    parties = {name: marriage[name] for name in ("male_id", "male_name", "female_id", "female_name", "registry")}
    scene.insert(
        "civil.marriage", {"marriage_no": number, "kind": "DIVORCE", "registered_date": scene.today, **parties}
    )


def _departed(scene: Scene) -> list[Row]:
    if "departed" not in scene.memory:
        scene.memory["departed"] = [row for row in scene.city.rolls[RESIDENT] if row["status"] != "REGISTERED"]
    return scene.memory["departed"]


def death(scene: Scene) -> None:
    """A death is certified, registered and followed by a cremation."""
    dead = living(scene, 50)
    if dead is None:
        return
    departed = _departed(scene)
    certificate, cremation = people.death_columns(scene.city, dead, scene.today)
    cremation["cremated_date"] = scene.today
    papers = [("health.death_certificate", scene.insert("health.death_certificate", certificate))]
    scene.update(RESIDENT, dead, status="DECEASED", status_date=scene.today)
    if scene.rng.random() < 0.95:
        papers.append(("civil.cremation", scene.insert("civil.cremation", cremation)))
    reported = scene.memory.setdefault("reported", {})
    reported[dead["citizen_id"]] = papers
    if len(reported) > _REPORTED_MAX:
        del reported[next(iter(reported))]
    departed.append(dead)


def death_retracted(scene: Scene) -> None:
    """A death turns out to be a mistake: the certificate is withdrawn, and the register has the person back."""
    for person in reversed(_departed(scene)[-_TRIES:]):
        reported = scene.memory.get("reported", {}).pop(person["citizen_id"], None)
        if reported is None or person["status"] != "DECEASED":
            continue
        for feed, row in reported:
            if scene.city.rolls[feed].get(*scene.city.rolls[feed].key_of(row)) is row:
                scene.delete(feed, row)
        scene.update(RESIDENT, person, status="REGISTERED", status_date=scene.today)
        _departed(scene).remove(person)
        return


def leaves_the_city(scene: Scene) -> None:
    """A resident's registration moves to another city: a status, not a deletion."""
    person = living(scene, 18)
    if person is not None:
        departed = _departed(scene)
        scene.update(RESIDENT, person, status="MOVED_OUT", status_date=scene.today)
        departed.append(person)


def archived(scene: Scene) -> None:
    """The register lets go of somebody who died or left: the row is deleted in the source."""
    departed = _departed(scene)
    if departed:
        person = departed.pop(int(scene.rng.random() * len(departed)))
        _leave_household(scene, person)
        scene.delete(RESIDENT, person)


def permit_issued(scene: Scene) -> None:
    """Somebody who lives in another district gets a residence permit."""
    person = living(scene, 18)
    if person is not None:
        scene.insert("police.residence_permit", people.permit_columns(scene.city, person, scene.today))


def permit_changes(scene: Scene) -> None:
    """A residence permit is renewed, moves to another district, or ends."""
    permit = scene.pick("police.residence_permit")
    if permit is None:
        return
    choice = scene.rng.random()
    if choice < 0.4:
        until = scene.today + timedelta(days=365)
        scene.update("police.residence_permit", permit, valid_to=until, status="VALID", status_date=None)
    elif choice < 0.8:
        region = names.other_region(scene.rng, permit["residence_region"])
        place = names.address(scene.rng, region)
        scene.update("police.residence_permit", permit, residence_region=region, address=place)
    else:
        scene.update("police.residence_permit", permit, status="CANCELLED", status_date=scene.today)


def permit_archived(scene: Scene) -> None:
    """A permit that ended is deleted."""
    permit = find(scene, "police.residence_permit", lambda row: row["status"] != "VALID")
    if permit is not None:
        scene.delete("police.residence_permit", permit)


def pupil_enrols(scene: Scene) -> None:
    """A child starts school."""
    child = living(scene, 5, 7)
    if child is None:
        return
    columns = livelihood.student_columns(scene.city, child, 1)
    if scene.city.rolls["edu.student"].get(columns["student_no"]) is None:
        scene.insert("edu.student", columns)


def pupil_transfers(scene: Scene) -> None:
    """A pupil changes to a school in another district."""
    pupil = scene.pick("edu.student")
    if pupil is not None:
        region = names.other_region(scene.rng, pupil["region"])
        scene.update("edu.student", pupil, school_code=f"{region}{int(scene.rng.random() * 40):03}", region=region)


def class_moves_up(scene: Scene) -> None:
    """A class moves up a grade in one transaction; the eldest graduate, and graduates of before are archived."""
    for pupil in {id(row): row for row in (scene.pick("edu.student") for _ in range(8)) if row}.values():
        if pupil["status"] == "GRADUATED":
            scene.delete("edu.student", pupil)
        elif pupil["grade"] >= 12:
            scene.update("edu.student", pupil, status="GRADUATED", status_date=scene.today)
        else:
            scene.update("edu.student", pupil, grade=pupil["grade"] + 1)


def card_issued(scene: Scene) -> None:
    """A disability card is issued."""
    person = living(scene)
    if person is None:
        return
    columns = livelihood.card_columns(scene.city, person, scene.today)
    if scene.city.rolls["disabled.card"].get(columns["card_no"]) is None:
        scene.insert("disabled.card", columns)


def card_changes(scene: Scene) -> None:
    """A disability card moves to another district, is renewed, or ends; ended ones are deleted."""
    card = scene.pick("disabled.card")
    if card is None:
        return
    choice = scene.rng.random()
    if card["status"] != "VALID":
        scene.delete("disabled.card", card)
    elif choice < 0.5:
        scene.update("disabled.card", card, region=names.other_region(scene.rng, card["region"]))
    elif choice < 0.8:
        scene.update("disabled.card", card, valid_to=scene.today + timedelta(days=3650))
    else:
        scene.update("disabled.card", card, status="CANCELLED", status_date=scene.today)
