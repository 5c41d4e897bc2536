"""Housing funds, unemployment and foreigners, as time goes on."""

from __future__ import annotations

from datetime import timedelta

from ops.city.chance import money
from ops.city.events.person import find, living
from ops.city.people import names, welfare
from ops.city.scene import Scene

ACCOUNT, UNEMPLOYED, FOREIGNER = "housing_fund.account", "hrss.unemployment", "police.foreigner"


def account_changes(scene: Scene) -> None:
    """Money comes in or goes out; an account is sealed (封存) between two employers, or opened again."""
    account = scene.pick(ACCOUNT)
    choice = scene.rng.random()
    if account is None or choice < 0.1:
        person = living(scene, 20, 55)
        if person is not None:
            scene.insert(ACCOUNT, welfare.account_columns(scene.city, person, None))
    elif account["status"] == "CLOSED":
        scene.delete(ACCOUNT, account)
    elif choice < 0.8:
        scene.update(ACCOUNT, account, balance=money(scene.rng, 500, 180_000))
    elif choice < 0.9:
        status = "NORMAL" if account["status"] == "SEALED" else "SEALED"
        scene.update(ACCOUNT, account, status=status, status_date=scene.today)
    else:
        scene.update(ACCOUNT, account, status="CLOSED", status_date=scene.today)


def unemployment_changes(scene: Scene) -> None:
    """Somebody loses work, or finds some."""
    person = living(scene, 20, 55)
    if scene.rng.random() < 0.5 and person is not None:
        scene.insert(UNEMPLOYED, welfare.unemployment_columns(scene.city, person, scene.today))
        return
    found = scene.pick(UNEMPLOYED)
    if found is None:
        return
    if found["ended_date"] is None:
        scene.update(UNEMPLOYED, found, ended_date=scene.today)
    elif len(scene.city.rolls[UNEMPLOYED]) > scene.city.count(welfare.UNEMPLOYED):
        scene.delete(UNEMPLOYED, found)


def foreigner_comes_or_goes(scene: Scene) -> None:
    """A foreigner registers, stays longer, moves to another district, or leaves the city."""
    foreigner = find(scene, FOREIGNER, lambda _: True)
    choice = scene.rng.random()
    if foreigner is None or choice < 0.3:
        scene.insert(FOREIGNER, welfare.foreigner_columns(scene.city, scene.today))
    elif choice < 0.5:
        scene.update(FOREIGNER, foreigner, stay_until=scene.today + timedelta(days=365))
    elif choice < 0.75:
        region = names.other_region(scene.rng, foreigner["residence_region"])
        scene.update(FOREIGNER, foreigner, residence_region=region)
    else:
        scene.delete(FOREIGNER, foreigner)
