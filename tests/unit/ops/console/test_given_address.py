"""Which addresses a page takes: databases across the network, and nothing of the mesh's own host."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.console.pages.given_address import given_addresses
from ops.settings import Connections
from schemas.errors import Misconfigured

POSTGRES, MYSQL = {"name": "main", "kind": "postgres"}, {"name": "main", "kind": "mysql"}


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://mesh:secret@10.1.2.3:5432/aic",
        "postgres://mesh@db.aic.example/aic?sslmode=verify-full",
        "postgresql://mesh:a%2Fb@[fd12::3]:5432/aic",
    ],
)
def test_a_database_across_the_network_is_taken(tmp_path: Path, address: str) -> None:
    assert given_addresses("aic", [POSTGRES], {"main": address}, Connections(tmp_path).sources) == {"main": address}


@pytest.mark.parametrize(
    "address",
    [
        "${MESH_DATABASE}",
        "dbname=hub host=/tmp/mesh",
        "postgresql:///hub",
        "postgresql://mesh@%2Ftmp%2Fmesh/hub",
        "postgresql://db.example/aic?host=/tmp/mesh",
        "postgresql://db.example/aic?passfile=/root/.pgpass",
        "postgresql://db.example:99999/aic",
        "sqlite:////srv/mesh/flows.db",
        "mysql://db.example/aic",
        "/srv/mesh/connections",
    ],
)
def test_nothing_of_the_host_is_taken_and_no_refusal_quotes_it(tmp_path: Path, address: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        given_addresses("aic", [POSTGRES], {"main": address}, Connections(tmp_path).sources)
    assert "the address of source main" in refused.value.problem
    assert address not in f"{refused.value.problem} {refused.value.fix}"


@pytest.mark.parametrize("kind", ["files", "polled", "mesh", None])
def test_kinds_that_read_the_host_are_not_taken(tmp_path: Path, kind: str | None) -> None:
    with pytest.raises(Misconfigured, match="that no page takes"):
        given_addresses("aic", [{"name": "main", "kind": kind}], {"main": "/srv"}, Connections(tmp_path).sources)


def test_without_an_address_the_one_that_is_kept_stands_and_none_of_the_file(tmp_path: Path) -> None:
    kept = Connections(tmp_path).sources
    written = {**MYSQL, "connection": "${MESH_DATABASE}"}
    with pytest.raises(Misconfigured, match="has no address yet"):
        given_addresses("aic", [written], {"main": ""}, kept)
    kept.save("aic", "main", "mysql://mesh@db.example/aic")
    assert given_addresses("aic", [written], {}, kept) == {"main": "${MESH_CONNECTION_KEPT}"}
