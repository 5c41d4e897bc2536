"""Opened: a department's database by its address."""

from __future__ import annotations

from ops.city.department.database import DepartmentDatabase
from ops.city.department.mariadb.database import MariaDbDepartment
from ops.city.department.postgresql.database import PostgresDepartment


def department_at(address: str) -> DepartmentDatabase:
    """A MariaDB where the address says so; otherwise a PostgreSQL, whose addresses have several forms."""
    return (MariaDbDepartment if address.startswith(("mysql://", "mariadb://")) else PostgresDepartment)(address)
