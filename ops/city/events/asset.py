"""Cars and homes change hands."""

from __future__ import annotations

from ops.city import dirt
from ops.city.events.person import living
from ops.city.people import assets
from ops.city.scene import Scene

CAR, HOME = "police.vehicle", "land.property"


def car_sold(scene: Scene) -> None:
    """A car changes its owner, and often its plate."""
    car, buyer = scene.pick(CAR), living(scene, 18)
    if car is None or buyer is None:
        return
    owner = {"owner_id": buyer["citizen_id"], "owner_name": dirt.name(scene.rng, buyer["name"].strip())}
    plate = scene.city.numbers.plate_no() if scene.rng.random() < 0.6 else car["plate_no"]
    scene.update(CAR, car, plate_no=plate, owner_id_type="CITIZEN_ID", **owner)


def car_bought(scene: Scene) -> None:
    """A new car is registered."""
    scene.insert(CAR, assets.vehicle_columns(scene.city, scene.today))


def car_struck_off(scene: Scene) -> None:
    """A car is struck off or seized; one that was struck off before is deleted."""
    car = scene.pick(CAR)
    if car is None:
        return
    if car["status"] == "DEREGISTERED":
        scene.delete(CAR, car)
    else:
        status = scene.rng.choice(("DEREGISTERED", "DEREGISTERED", "SEIZED"))
        scene.update(CAR, car, status=status, status_date=scene.today)


def home_sold(scene: Scene) -> None:
    """A home is sold: contract and owner in one transaction at the land bureau, then deed tax (契税) at the tax office."""
    home, buyer = scene.pick(HOME), living(scene, 18)
    if home is None or buyer is None or home["owner_id"] == buyer["citizen_id"]:
        return
    sale = scene.insert(
        "land.property_sale",
        assets.sale_columns(scene.city, home, home["owner_id"], buyer["citizen_id"], scene.today),
    )
    owner = {"owner_id": buyer["citizen_id"], "owner_name": buyer["name"].strip()}
    scene.update(HOME, home, owner_id_type="CITIZEN_ID", acquired_date=scene.today, **owner)
    if scene.rng.random() < 0.93:
        scene.insert("local_tax.deed_tax", assets.deed_tax_columns(scene.city, sale))


def home_built(scene: Scene) -> None:
    """A new home is registered for the first time."""
    scene.insert(HOME, assets.property_columns(scene.city, scene.today))


def home_mortgaged(scene: Scene) -> None:
    """A mortgage is entered or cancelled."""
    home = scene.pick(HOME)
    if home is not None:
        status = "REGISTERED" if home["status"] == "MORTGAGED" else "MORTGAGED"
        scene.update(HOME, home, status=status, status_date=scene.today)


def sale_archived(scene: Scene) -> None:
    """An old contract leaves the live table, and an old receipt."""
    for feed in ("land.property_sale", "local_tax.deed_tax"):
        row = scene.pick(feed)
        if row is not None and len(scene.city.rolls[feed]) > 1200:
            scene.delete(feed, row)
