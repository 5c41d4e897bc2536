"""Flavour: in what MariaDB and MySQL differ, as far as a sink has to do with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.errors import Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One server's. `collation` compares text byte by byte, blanks at its end too; keys that differ in the source differ here."""

    name: str
    collation: str
    has_row_alias: bool

    @property
    def alias(self) -> str:
        """What stands behind the rows of an upsert, so that its second part can speak of them."""
        return " AS fresh" if self.has_row_alias else ""

    def fresh(self, column: str) -> str:
        """The value, of a quoted column, that an upsert would have inserted. MySQL is about to take VALUES() away."""
        return f"fresh.{column}" if self.has_row_alias else f"VALUES({column})"


MARIADB = Flavour(name="MariaDB", collation="utf8mb4_nopad_bin", has_row_alias=False)
MYSQL = Flavour(name="MySQL", collation="utf8mb4_0900_bin", has_row_alias=True)
_LEAST = {"MariaDB": (10, 6, 0), "MySQL": (8, 0, 19)}


def flavour_of(version: str, subscriber: str) -> Flavour:
    """By what the server says of itself, such as `11.4.5-MariaDB-log`. Raises Misconfigured for one that is too old."""
    flavour = MARIADB if "mariadb" in version.lower() else MYSQL
    numbers = re.search(r"(\d+)\.(\d+)\.(\d+)", version.removeprefix("5.5.5-"))
    found = tuple(map(int, numbers.groups())) if numbers else (0, 0, 0)
    if found < _LEAST[flavour.name]:
        least = " or ".join(f"{name} {'.'.join(map(str, version))}" for name, version in _LEAST.items())
        raise Misconfigured(
            f"{subscriber}'s database", f"is {flavour.name} {'.'.join(map(str, found))}", fix=f"use {least}, or newer"
        )
    return flavour
