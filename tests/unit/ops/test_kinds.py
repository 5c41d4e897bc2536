"""Every kind is known without its parts being loaded, and says by itself what the rest of the mesh asks of one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ops.kinds.sinks import SINKS, SUGGESTED
from ops.kinds.sources import SOURCES, kind_of
from producers.postgresql.onboarding.neighbour import at
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured
from sinks.kind import SinkKind, is_delivered
from sinks.postgresql.kind import POSTGRES
from sinks.sink import SinkSetup

DRIVERS = ("psycopg", "pymysql", "pyarrow", "httpcore", "fastavro")


@pytest.mark.parametrize("module", ["ops.cli", "ops.kinds.sinks", "ops.kinds.sources"])
def test_what_every_command_loads_has_no_driver_of_any_kind(module: str) -> None:
    program = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert not {name.split(".")[0] for name in loaded} & {*DRIVERS}


def test_a_sink_without_build_is_pulled_and_never_opened() -> None:
    pulled = [name for name, kind in SINKS.items() if kind.is_pulled]
    assert {name for name in pulled if SINKS[name].confirms_by_group} == {"kafka"}, "another mesh's word is its own"
    sink = SinkConfig(name="main", kind=pulled[0])
    assert not any(is_delivered(SinkConfig(name="main", kind=name), SINKS) for name in pulled)
    assert not is_delivered(None, SINKS)
    assert is_delivered(SinkConfig(name="main", kind="unheard"), SINKS), "somebody has to say what is wrong with it"
    setup = SinkSetup(subscriber="x", sink=sink, address_of=lambda *_: "")
    with pytest.raises(Misconfigured, match="read by its subscriber itself"):
        SINKS[pulled[0]].open(setup)
    assert not SinkKind(build=lambda _: pytest.fail("is built")).is_pulled
    assert not SINKS[SUGGESTED].is_pulled


def test_the_kind_of_a_source_that_nobody_knows_captures_nothing() -> None:
    agency = Agency(agency="a", name="a", sources=(SourceConfig(name="main", kind="unheard"),))
    for known in (agency, None):
        for source in ("main", "other"):
            assert kind_of(known, source).open is None


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:p@DB.example:5433/sales",
        "postgresql://u@127.0.0.1/sales",
        "host=/run/postgresql user=u dbname=sales",
        "postgresql://u@[::1]:5432/",
    ],
)
def test_both_sides_name_a_database_alike(address: str) -> None:
    setup = SinkSetup(subscriber="x", sink=SinkConfig(name="main", kind=SUGGESTED), address_of=lambda *_: address)
    assert next(iter(POSTGRES.databases(setup))) == at(address)
    assert SOURCES[SUGGESTED].database is not None
