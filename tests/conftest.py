"""Real servers for the tests: one Kafka, one PostgreSQL and one MariaDB per test run, started when first asked for."""

from __future__ import annotations

import fcntl
import gc
import itertools
import json
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import hypothesis
import psycopg
import pytest

from ops.embedded.postgres import ensure_database
from schemas.log.kafka import Kafka
from tests.stage import server_host
from tests.stage.maria import MariaServer
from tests.stage.running_mesh import RunningMesh, dropped
from tests.stage.until import until

if TYPE_CHECKING:
    from tests.stage.weed import Weed

_RUN = "MESH_TEST_RUN"
_users_key = pytest.StashKey[IO[str]]()
_number = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Take part in the run: its servers live until the last process that holds this lock is gone."""
    if _RUN not in os.environ or not hasattr(config, "workerinput"):
        os.environ[_RUN] = tempfile.mkdtemp(prefix="mesh-tests-")
        Path(os.environ[_RUN]).chmod(0o755)
    if os.environ.get("MESH_CHAOS_SEED", "0") in {
        "",
        "0",
    }:  # one for all workers, or they would collect different tests
        os.environ["MESH_CHAOS_SEED"] = str(secrets.randbelow(1 << 30) + 1)
    server_host.make_java_brief()
    hypothesis.settings.register_profile("mesh", deadline=None)  # a loaded machine is slow, not wrong
    hypothesis.settings.load_profile("mesh")
    if (
        signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    ):  # as of a job in the background; our children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    users = (Path(os.environ[_RUN]) / "users.lock").open("a")
    fcntl.flock(users, fcntl.LOCK_SH)
    config.stash[_users_key] = users


def pytest_collection_finish() -> None:
    """Four thousand tests and what they import stay: the collector need not look through them again and again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the run."""
    if users := config.stash.get(_users_key, None):
        users.close()
    if not hasattr(config, "workerinput"):
        run = Path(os.environ.pop(_RUN))
        if not list(run.glob("*-host.log")):
            (run / "users.lock").unlink()
            run.rmdir()


class Database:
    """The run's PostgreSQL: superuser, wal_level=logical, fsync off."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._created: list[str] = []

    def create_database(self, prefix: str) -> str:
        """A new, empty database whose name starts with `prefix`; its address."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        ensure_database(self._dsn, name)
        self._created.append(name)
        return urlsplit(self._dsn)._replace(path=f"/{name}").geturl()

    def apart(self) -> Database:
        """The same server for somebody who ends what they made themselves, later than a test does."""
        return Database(self._dsn)

    def drop_slots(self) -> None:
        """Drop what tests left in the databases made here: a server has so many slots, and each keeps log and dead rows."""
        created, self._created = self._created, []
        if not created:
            return
        with psycopg.connect(self._dsn, autocommit=True) as db:
            slots = db.execute("SELECT slot_name FROM pg_replication_slots WHERE database = ANY(%s)", (created,))
            for (slot,) in slots.fetchall():
                until(lambda slot=slot: dropped(db, slot), 30, f"{slot} is gone")


@pytest.fixture(scope="session")
def kafka() -> Kafka:
    """The run's broker, entered as the user who may do everything."""
    return Kafka.of(json.loads(server_host.address("kafka", Path(os.environ[_RUN]))))


@pytest.fixture(scope="session")
def kafka_sasl(kafka: Kafka) -> str:
    """Bootstrap address of the same broker for subscribers: SCRAM-SHA-512, ACLs apply."""
    return json.loads(server_host.address("kafka", Path(os.environ[_RUN])))["MESH_KAFKA_SASL"]


@pytest.fixture(scope="session")
def far_kafka() -> tuple[Kafka, str]:
    """A second broker, that of another mesh, and its listener for subscribers."""
    settings = json.loads(server_host.address("far-kafka", Path(os.environ[_RUN])))
    return Kafka.of(settings), settings["MESH_KAFKA_SASL"]


@pytest.fixture
def far_kafka_alone(far_kafka: tuple[Kafka, str]) -> Iterator[tuple[Kafka, str]]:
    """The second broker while no other test says there which mesh it is: a broker has one statement of identity."""
    with (Path(os.environ[_RUN]) / "far-kafka-in-use.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield far_kafka


@pytest.fixture(scope="session")
def postgres() -> Database:
    """The run's PostgreSQL server."""
    return Database(server_host.address("postgres", Path(os.environ[_RUN])))


@pytest.fixture(scope="session")
def mariadb() -> MariaServer:
    """The run's MariaDB server."""
    return MariaServer(server_host.address("mariadb", Path(os.environ[_RUN])))


@pytest.fixture(scope="session")
def weed() -> Weed:
    """The run's object store and SFTP server."""
    from tests.stage.weed import Weed  # noqa: PLC0415 -- only what drops there needs its libraries

    return Weed.from_json(server_host.address("weed", Path(os.environ[_RUN])))


@pytest.fixture(autouse=True)
def no_slots_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test captured from, its slots end with it."""
    yield
    if "postgres" in request.fixturenames:
        request.getfixturevalue("postgres").drop_slots()


@pytest.fixture
def mesh(postgres: Database, unique: str, tmp_path: Path) -> Iterator[RunningMesh]:
    """The run's one running mesh, shared with the tests of other workers."""
    yield from _joined(fcntl.LOCK_SH, postgres, unique, tmp_path)


@pytest.fixture(scope="module")
def mesh_of_module(postgres: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """The same mesh for the tests of a module, which share what one of them onboarded."""
    apart = postgres.apart()
    yield from _joined(fcntl.LOCK_SH, apart, _unique(), tmp_path_factory.mktemp("module"))
    apart.drop_slots()


@pytest.fixture
def mesh_alone(postgres: Database, unique: str, tmp_path: Path) -> Iterator[RunningMesh]:
    """The same mesh while no other test uses it, for a test that disturbs it."""
    yield from _joined(fcntl.LOCK_EX, postgres, unique, tmp_path)


def _joined(how: int, postgres: Database, unique: str, folder: Path, kind: str = "mesh") -> Iterator[RunningMesh]:
    directory = Path(server_host.address(kind, Path(os.environ[_RUN])))
    with (directory / "in-use.lock").open("a") as lock:
        fcntl.flock(lock, how)
        mesh = RunningMesh(directory, folder, unique, postgres.create_database)
        yield mesh
        mesh.leave()


@pytest.fixture
def far_mesh(postgres: Database, unique: str, tmp_path: Path) -> Iterator[RunningMesh]:
    """Another running mesh, on a Kafka and a registry of its own."""
    folder = tmp_path / "far"
    folder.mkdir()
    yield from _joined(fcntl.LOCK_SH, postgres, unique, folder, "far-mesh")


@pytest.fixture
def unique() -> str:
    """A short lower-case name that no other test of any worker has."""
    return _unique()


def _unique() -> str:
    return f"u{secrets.token_hex(3)}{next(_number)}"
