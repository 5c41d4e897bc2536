"""A small town hall for the pages: an agency with firms and stalls, and a subscriber that has the firms, on a running mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from tests.stage.running_mesh import RunningMesh, contract, database

ROWS = 40
PERSON = "张某某"
"""Who must not be seen."""
_DOCS = {"id": "主体编号", "name": "名称", "owner_name": "经营者姓名", "status": "状态"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TownHall:
    """What was onboarded. `address`: the agency's database; `stalls`: a feed that a test may spoil."""

    agency: str
    subscriber: str
    firms: str
    stalls: str
    address: str

    @property
    def grant(self) -> str:
        return f"{self.subscriber}.{self.firms}"


def register(title: str) -> dict[str, Any]:
    """A contract with a person in it."""
    fields = dict.fromkeys(_DOCS, "string") | {"id": "int"}
    made = contract(["id"], fields, resource=title, freshnessSloSeconds=60)
    for field in made["fields"]:
        field["doc"] = _DOCS[field["name"]]
        if field["name"] == "owner_name":
            field["confluent:tags"] = ["PII", "L3"]
        if field["name"] == "status":
            field["gov"] = {"values": {"ACTIVE": "存续", "CLOSED": "注销"}}
    return made


def open_town_hall(mesh: RunningMesh) -> TownHall:
    """Onboard it, and wait until the subscriber has every row."""
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    address, _ = mesh.database(agency), mesh.database(subscriber)
    mesh.agency(agency, {"firm": register("市场主体登记信息"), "stall": register("流动摊贩备案信息")})
    with database(address) as town:
        for table in ("firm", "stall"):
            town.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, name text, owner_name text, status text)")
            town.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
            town.execute(
                f"INSERT INTO {table} SELECT n, '示例商行' || n, %s, CASE n %% 5 WHEN 0 THEN 'CLOSED' ELSE 'ACTIVE' END"
                " FROM generate_series(1, %s) n",
                (PERSON, ROWS),
            )
    feed = f"{agency}.firm"
    mesh.subscriber(subscriber, {"feed": feed, "columns": ["name", "status"], "purpose": "办事资格核验"})
    _rename(mesh, agency, "agency.yaml", "示例市场监管局")
    _rename(mesh, subscriber, "subscriber.yaml", "示例政务服务中心")
    mesh.done("onboard", mesh.folder)
    mesh.verified(feed, ROWS)
    return TownHall(agency=agency, subscriber=subscriber, firms=feed, stalls=f"{agency}.stall", address=address)


def _rename(mesh: RunningMesh, code: str, file: str, name: str) -> None:
    path = mesh.folder / code / file
    record = yaml.safe_load(path.read_text("utf-8"))
    path.write_text(yaml.safe_dump({**record, "name": name}, allow_unicode=True), "utf-8")
