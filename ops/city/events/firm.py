"""What befalls organisations, as commerce, quality supervision and tax record it."""

from __future__ import annotations

from datetime import timedelta

from ops.city.chance import money
from ops.city.events.person import find, living
from ops.city.firms import firms
from ops.city.people import names
from ops.city.people.roll import Row
from ops.city.scene import Scene

FIRM = "aic.enterprise"


def _active(scene: Scene) -> Row | None:
    return find(scene, FIRM, lambda row: row["status"] == "ACTIVE")


def _record(scene: Scene, firm: Row, item: str, old: str | None, new: str | None) -> None:
    scene.insert("aic.enterprise_change", firms.change_columns(scene.city, firm, item, old, new, scene.today))


def _tax_rows(scene: Scene, firm: Row) -> list[tuple[str, Row]]:
    """The firm's tax registrations."""
    numbers = firms.tax_numbers(scene.city)
    found: list[tuple[str, Row]] = []
    for tax in firms.TAXES:
        number, feed = numbers.get((firm["ent_id"], tax)), f"{tax}.registration"
        row = scene.city.rolls[feed].get(number)
        if row is not None:
            found.append((feed, row))
    return found


def founded(scene: Scene) -> None:
    """A firm is registered: with shareholders and scope in one transaction, then at the other registers."""
    has_uscc = scene.rng.random() < firms.COVERAGE
    columns = firms.enterprise_columns(scene.city, scene.today, has_uscc=has_uscc)
    firm = scene.insert(FIRM, columns)
    for feed, rows in firms.enrolment(scene.city, firm).items():
        for row in rows:
            scene.insert(feed, row)


def moves(scene: Scene) -> None:
    """A firm moves to another district, and so do its tax registrations."""
    firm = _active(scene)
    if firm is None:
        return
    region = names.other_region(scene.rng, firm["reg_region"])
    place = names.address(scene.rng, region)
    lon, lat = names.place(scene.rng, region)
    _record(scene, firm, "ADDRESS", firm["address"], place)
    registry = f"广州市工商行政管理局{names.REGIONS[region]}分局"
    scene.update(FIRM, firm, reg_region=region, address=place, lon=lon, lat=lat, registry=registry)
    for feed, row in _tax_rows(scene, firm):
        scene.update(feed, row, region=region)


def renamed(scene: Scene) -> None:
    """A firm takes another name, at commerce and at the register of codes."""
    firm = _active(scene)
    if firm is None:
        return
    name = names.firm(scene.rng, firm["industry"], firm["kind"])
    _record(scene, firm, "NAME", firm["name"], name)
    scene.update(FIRM, firm, name=name)
    code = scene.city.rolls["qts.organisation_code"].get(firm["org_code"])
    if code is not None:
        scene.update("qts.organisation_code", code, name=name)


def capital_changes(scene: Scene) -> None:
    """A firm's registered capital changes."""
    firm = _active(scene)
    if firm is not None:
        capital = money(scene.rng, 1, 5000)
        _record(scene, firm, "CAPITAL", firm["capital"], capital)
        scene.update(FIRM, firm, capital=capital)


def representative_changes(scene: Scene) -> None:
    """Another person represents the firm."""
    firm, person = _active(scene), living(scene, 18)
    if firm is None or person is None:
        return
    name = person["name"].strip()
    _record(scene, firm, "LEGAL_REP", firm["legal_rep_name"], name)
    scene.update(FIRM, firm, legal_rep_name=name, legal_rep_id=person["citizen_id"])


def shareholder_changes(scene: Scene) -> None:
    """A share is sold: one holder's row goes, another's comes; holders are part of the key."""
    holder, person = scene.pick("aic.shareholder"), living(scene, 18)
    if holder is None or person is None:
        return
    key = (holder["ent_id"], "CITIZEN_ID", person["citizen_id"])
    if scene.city.rolls["aic.shareholder"].get(*key) is not None:
        return
    firm = scene.city.rolls[FIRM].get(holder["ent_id"])
    if firm is not None and scene.rng.random() < 0.8:  # otherwise the register of changes knows nothing of it
        _record(scene, firm, "SHAREHOLDER", holder["name"], person["name"].strip())
    scene.delete("aic.shareholder", holder)
    scene.insert(
        "aic.shareholder",
        {
            "ent_id": holder["ent_id"],
            "holder_id_type": "CITIZEN_ID",
            "holder_id": person["citizen_id"],
            "name": person["name"].strip(),
            "amount": holder["amount"],
            "ratio": holder["ratio"],
        },
    )


def scope_changes(scene: Scene) -> None:
    """A firm gives up one item of business and takes up another."""
    item = scene.pick("aic.scope_item")
    code = scene.rng.choice(firms.ITEMS)
    if item is None or scene.city.rolls["aic.scope_item"].get(item["ent_id"], code) is not None:
        return
    scene.delete("aic.scope_item", item)
    kind = scene.rng.choices(("GENERAL", "AFTER", "BEFORE"), (70, 25, 5))[0]
    scene.insert("aic.scope_item", {"ent_id": item["ent_id"], "item_code": code, "permit_kind": kind})


def listed(scene: Scene) -> None:
    """A firm is put on the list of abnormal operations (经营异常名录)."""
    firm = _active(scene)
    if firm is None or scene.city.rolls["aic.abnormal_listing"].get(firm["ent_id"], scene.today) is not None:
        return
    cause = scene.rng.choice(("NO_ANNUAL_REPORT", "UNREACHABLE", "FALSE_INFORMATION"))
    scene.insert("aic.abnormal_listing", {"ent_id": firm["ent_id"], "listed_date": scene.today, "cause": cause})


def delisted(scene: Scene) -> None:
    """A firm comes off that list, and later its entry is deleted."""
    listing = scene.pick("aic.abnormal_listing")
    if listing is None:
        return
    if listing["removed_date"] is None:
        scene.update("aic.abnormal_listing", listing, removed_date=scene.today)
    else:
        scene.delete("aic.abnormal_listing", listing)


def closes(scene: Scene) -> None:
    """A firm is deregistered or its licence revoked (注销、吊销): statuses at commerce, codes and tax, no deletion."""
    firm = _active(scene)
    if firm is None:
        return
    status = scene.rng.choices(("DEREGISTERED", "REVOKED", "MOVED_OUT"), (70, 20, 10))[0]
    scene.update(FIRM, firm, status=status, status_date=scene.today)
    code = scene.city.rolls["qts.organisation_code"].get(firm["org_code"])
    if code is not None:
        scene.update("qts.organisation_code", code, status="CANCELLED", status_date=scene.today)
    if scene.rng.random() < 0.8:
        for feed, row in _tax_rows(scene, firm):
            scene.update(feed, row, status="CANCELLED", status_date=scene.today)


def erased(scene: Scene) -> None:
    """Commerce archives a firm that closed: its row is deleted, and those of its code and taxes."""
    firm = find(scene, FIRM, lambda row: row["status"] != "ACTIVE")
    if firm is None:
        return
    code = scene.city.rolls["qts.organisation_code"].get(firm["org_code"])
    for feed, row in _tax_rows(scene, firm):
        if scene.rng.random() < 0.98:  # otherwise a taxpayer stays whom nobody knows any more
            scene.delete(feed, row)
    if code is not None:
        scene.delete("qts.organisation_code", code)
    scene.delete(FIRM, firm)


def tax_status_changes(scene: Scene) -> None:
    """A taxpayer becomes abnormal (非正常户), or normal again."""
    feed = scene.rng.choice(("state_tax.registration", "local_tax.registration"))
    payer = find(scene, feed, lambda row: row["status"] != "CANCELLED")
    if payer is None:
        return
    is_normal = payer["status"] == "NORMAL"
    scene.update(feed, payer, status="ABNORMAL" if is_normal else "NORMAL", status_date=scene.today)


def institution_changes(scene: Scene) -> None:
    """An institution is founded, moves or merges."""
    institution = scene.pick("staffing.institution")
    choice = scene.rng.random()
    if institution is None or choice < 0.2:
        scene.insert("staffing.institution", firms.institution_columns(scene.city))
    elif institution["status"] != "ACTIVE":
        scene.delete("staffing.institution", institution)
    elif choice < 0.8:
        region = names.other_region(scene.rng, institution["region"])
        scene.update("staffing.institution", institution, region=region)
    else:
        scene.update("staffing.institution", institution, status="MERGED", status_date=scene.today)


def social_organisation_changes(scene: Scene) -> None:
    """A social organisation is founded, moves or is dissolved."""
    organisation = scene.pick("civil.social_organisation")
    choice = scene.rng.random()
    if organisation is None or choice < 0.2:
        scene.insert("civil.social_organisation", firms.social_columns(scene.city))
    elif organisation["status"] != "ACTIVE":
        scene.delete("civil.social_organisation", organisation)
    elif choice < 0.8:
        person = living(scene, 25)
        name = person["name"].strip() if person else organisation["legal_rep_name"]
        scene.update("civil.social_organisation", organisation, legal_rep_name=name)
    else:
        gone = scene.today - timedelta(days=1)
        scene.update("civil.social_organisation", organisation, status="DEREGISTERED", status_date=gone)
