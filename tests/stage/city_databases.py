"""A database for each department of the example city, on the run's server of its kind."""

from __future__ import annotations

from typing import Any

from ops.city.city import GUANGZHOU
from ops.kinds.sources import kind_of
from ops.lint.folder import load
from tests.stage.maria import MariaServer


def city_databases(postgres: Any, mariadb: MariaServer, prefix: str) -> dict[str, str]:
    """Addresses by agency, of databases that are empty."""
    found: dict[str, str] = {}
    for folder in load(GUANGZHOU).agencies:
        if folder.captured:
            (source,) = folder.agency.sources
            server = mariadb if "mysql" in kind_of(folder.agency, source.name).schemes else postgres
            found[folder.agency.agency] = server.create_database(f"{prefix}_{folder.agency.agency}")
    return found
