"""Departments of the example city on a mesh of a test's own: their databases, and the clock on their walls."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import yaml

from ops.city.beside import beside
from ops.city.city import GUANGZHOU, read_contracts
from ops.city.office.conduct import Habits
from ops.city.office.offices import Offices
from ops.embedded.program import Program, last_lines, launch
from ops.host.up import mesh_command
from ops.proof.ddl import create_table
from ops.run.flow_worker import BY_DATES, CLOCK, TASKS
from tests.conftest import Database
from tests.stage.running_mesh import RunningMesh, database
from tests.stage.until import until

FIRM = {
    "name": "广州粤达餐饮有限公司",
    "kind": "ENTERPRISE",
    "industry": "H62",
    "scope_text": "餐饮",
    "legal_rep_name": "张三",
    "legal_rep_id_type": "CITIZEN_ID",
    "legal_rep_id": "440199199001010017",
    "capital": 10,
    "currency": "CNY",
    "registry": "天河分局",
    "reg_region": "440106",
    "address": "天河路1号",
    "established": "2016-11-01",
    "status": "ACTIVE",
}
CARD = {"name": "张三", "region": "440106", "valid_to": "2026-11-01", "status": "VALID"}
DISABILITY = "44010001"
CERTIFICATE = {
    "type_code": DISABILITY,
    "holder_id_type": "CITIZEN_ID",
    "holder_name": "张三",
    "issuer": "广州市电子证照管理中心",
    "version": 1,
    "items": "{}",
    "file_digest": "ab",
    "signature": b"\0",
    "status": "VALID",
}
FLAWLESS = dict.fromkeys(("silent", "late", "wrong", "need_info", "misspelt", "contradicted"), 0.0)


@dataclass
class Departments:
    """Some departments on a mesh. `now` is the date that they and their offices write."""

    mesh: RunningMesh
    dsns: Mapping[str, str]
    now: datetime

    def run(self, agency: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """A statement in one department's database; nothing where a table is not there yet."""
        with database(self.dsns[agency]) as connection:
            try:
                cursor = connection.execute(statement.encode(), values)
            except psycopg.errors.UndefinedTable:
                return []
            return cursor.fetchall() if cursor.description else []

    def insert(self, feed: str, **columns: Any) -> None:
        """A row of a department's table, written now; columns that are not given are as the table has them."""
        agency, _, table = feed.partition(".")
        row = {"updated_at": self.now, "source_row_version": 1, **columns}
        names, places = ", ".join(row), ", ".join(["%s"] * len(row))
        self.run(agency, f"INSERT INTO public.{table} ({names}) VALUES ({places})", *row.values())

    def register_firm(self, ent_id: str, **columns: Any) -> None:
        """An enterprise of Tianhe is registered."""
        self.insert("aic.enterprise", **{**FIRM, "ent_id": ent_id, **columns})

    def issue_card(self, card_no: str, holder: str) -> None:
        """A disability card."""
        told = {"kind": card_no[-2], "level": card_no[-1], "issue_date": self.now.date()}
        self.insert("disabled.card", **{**CARD, "card_no": card_no, "citizen_id": holder, **told})

    def issue_certificate(self, cert_id: str, cert_no: str, holder: str, **columns: Any) -> None:
        """An electronic certificate."""
        told = {"issue_date": self.now.date(), "valid_from": self.now.date()}
        row = {"cert_id": cert_id, "cert_no": cert_no, "holder_id": holder, **told, **columns}
        self.insert("certs.certificate", **{**CERTIFICATE, **row})

    @contextmanager
    def at_work(self, *agencies: str, **habits: float) -> Iterator[None]:
        """These departments' programs work within the block; nothing goes wrong and nothing takes time unless `habits` say so."""
        how = Habits(**{**FLAWLESS, "least_days": 0.0, "most_days": 0.0, **habits})
        offices = Offices(self.dsns, agencies, seed=1, clock=lambda: self.now, habits=how)
        with beside(offices.run, "offices"):
            yield
        assert not offices.hindered


@contextmanager
def department_mesh(
    folder: Path, flows: Collection[str], tables: Mapping[str, set[str]]
) -> Iterator[tuple[RunningMesh, dict[str, str]]]:
    """A mesh that captures these tables of these departments, has these flows, and delivers what the departments are granted.

    Without a flow it is a district's or the province's, which lends tables to the city's systems.
    """
    directory = folder / "mesh"
    program = Program(
        name="up",
        argv=mesh_command("up", "--dir", str(directory)),
        log=folder / "up.log",
        env={CLOCK: BY_DATES, TASKS: "1"},
        stop_within_seconds=60,
    )
    running = launch(program)
    try:
        until(lambda: (directory / "endpoints.json").exists() or running.ended() is not None, 180, "the mesh is up")
        assert running.ended() is None, last_lines(program.log, 40)
        server = json.loads((directory / "endpoints.json").read_text())["hub_database"]
        mesh = RunningMesh(directory, folder, "city", Database(server).create_database)
        dsns = {agency: mesh.database(agency) for agency in tables}
        for contract in read_contracts().values():
            if contract.agency in dsns:  # all tables: an office decides also by what nobody captures
                with database(dsns[contract.agency]) as connection:
                    for statement in create_table(contract):
                        connection.execute(statement)
        mesh.done("onboard", "--wait", 0, "--partitions", 1, _city(folder / "city", flows, tables))
        yield mesh, dsns
    finally:
        running.stop()


def _city(folder: Path, flows: Collection[str], tables: Mapping[str, set[str]]) -> Path:
    """The part of the example city's folder that these departments and flows are."""
    folder.mkdir()
    for flow in flows:
        shutil.copytree(GUANGZHOU / flow, folder / flow)
    for agency, names in tables.items():
        if (GUANGZHOU / agency).exists():  # otherwise it only subscribes
            (folder / agency).mkdir()
            for name in ("agency.yaml", *(f"{table}.avsc" for table in names)):
                shutil.copy(GUANGZHOU / agency / name, folder / agency / name)
        subscriber = GUANGZHOU / "subscribers" / agency / "subscriber.yaml"
        if not subscriber.exists():  # it only provides
            continue
        entry = yaml.safe_load(subscriber.read_text())
        entry["grants"] = [grant for grant in entry["grants"] if _is_here(grant["feed"], tables, flows)]
        if not entry["grants"]:
            continue
        target = folder / "subscribers" / agency
        target.mkdir(parents=True)
        (target / "subscriber.yaml").write_text(json.dumps(entry, ensure_ascii=False, default=str))
    return folder


def _is_here(feed: str, tables: Mapping[str, set[str]], flows: Collection[str]) -> bool:
    agency, _, table = feed.partition(".")
    return agency in flows or table in tables.get(agency, ())
