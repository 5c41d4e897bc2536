"""Servers: what the mesh of a directory stands on, its own or those that settings name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
from rich.console import Console

from ops.embedded.broker_logins import ADMIN
from ops.embedded.kafka import EmbeddedKafka
from ops.embedded.postgres import Postgres, ensure_database, without_password
from ops.host.supervisor import Supervisor
from ops.settings import registry_login
from schemas.errors import Misconfigured, Transient
from schemas.log.entering import check
from schemas.log.kafka import Kafka
from schemas.log.rights.hops import HOPS, give_rights
from schemas.log.topics import ensure_control_topics
from schemas.registry.address import RegistryAddress
from schemas.registry.client import lists_subjects

HUB = "hub"
EnteredBy = Callable[[str], Kafka]
"""Kafka as a process enters it, by the process's name."""


def start_kafka(directory: Path, supervisor: Supervisor, console: Console) -> tuple[EnteredBy, str | None]:
    """How each process enters Kafka, commands by an empty name; and the subscribers' listener."""
    if os.environ.get("MESH_KAFKA"):
        entered_by, subscribers = partial(Kafka.of, os.environ), os.environ.get("MESH_KAFKA_SASL")
        given = entered_by("")
        try:
            check(given)
        except Transient as error:
            fix = "start that broker, correct MESH_KAFKA, or unset it to have one started here"
            raise Misconfigured("MESH_KAFKA", f"nothing answers at {given}", fix=fix) from error
        console.print(f"kafka: yours, {given}")
    else:
        with timed("kafka", console) as ready:
            log = directory / "log" / "kafka.log"
            kafka = EmbeddedKafka(directory / "kafka", log=log, console=console, users=map(_login_of, HOPS))
            supervisor.adopt(kafka.start())
            entered_by, subscribers = lambda hop: kafka.entered_by(_login_of(hop)), kafka.bootstrap_sasl
            ready.append(kafka.bootstrap)
    admin = entered_by("")
    ensure_control_topics(admin)
    users = {hop: user for hop in HOPS if (user := entered_by(hop).user) != admin.user}
    if users:
        give_rights(admin, users)
    return entered_by, subscribers


def java_properties(kafka: Kafka) -> str:
    """What Java's tools and clients take as a file; in it a line break within a value is written out."""
    escaped = {name: value.replace("\\", "\\\\").replace("\n", "\\n") for name, value in kafka.java().items()}
    return "".join(f"{name}={value}\n" for name, value in escaped.items())


def _login_of(hop: str) -> str:
    return f"{ADMIN}-{hop}" if hop in HOPS else ADMIN


def start_database(directory: Path, supervisor: Supervisor, console: Console) -> str:
    """The address of the hub's own database."""
    if given := os.environ.get("MESH_DATABASE"):
        try:
            psycopg.connect(given, connect_timeout=10).close()
        except psycopg.Error as error:
            fix = "start that server, correct MESH_DATABASE, or unset it to have one started here"
            problem = f"{without_password(given)} cannot be reached ({type(error).__name__})"
            raise Misconfigured("MESH_DATABASE", problem, fix=fix) from error
        console.print(f"postgres: yours, {without_password(given)}")
        return given
    with timed("postgres", console) as ready:
        postgres = Postgres(directory / "postgres", log=directory / "log" / "postgres.log")
        supervisor.adopt(postgres.start())
        ensure_database(postgres.dsn("postgres"), HUB)
        ready.append(without_password(postgres.dsn(HUB)))
    return postgres.dsn(HUB)


def given_registry(directory: Path, console: Console) -> str | None:
    """The URL of a registry to use instead of our own."""
    given = os.environ.get("MESH_REGISTRY")
    if not given:
        return None
    shown = RegistryAddress.parse(given).url
    if not lists_subjects(registry_login(directory, given)):
        fix = "start that registry, correct MESH_REGISTRY, or unset it to have one started here"
        raise Misconfigured("MESH_REGISTRY", f"{shown}/subjects does not answer, or lets nobody in", fix=fix)
    console.print(f"registry: yours, {shown}")
    return given


@contextmanager
def timed(name: str, console: Console) -> Iterator[list[str]]:
    """Say what starts, then where it is and how long that took."""
    console.print(f"{name}: starting")
    started = time.monotonic()
    where: list[str] = []
    yield where
    console.print(f"{name}: {''.join(where)} after {time.monotonic() - started:.1f} s", soft_wrap=True)
