"""What `mesh draft` writes of the address that it was given."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from ops.onboarding.draft import draft


def test_the_folder_names_the_variable_that_was_given(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (id bigint PRIMARY KEY)")
    monkeypatch.setenv("METRO_DSN", dsn)
    draft("${METRO_DSN}", [], tmp_path / "metro", "metro")
    draft(dsn, [], tmp_path / "bus", "bus")
    metro, bus = ((tmp_path / agency / "agency.yaml").read_text() for agency in ("metro", "bus"))
    assert "connection: ${METRO_DSN}" in metro
    assert "export METRO_DSN=" in metro
    assert "connection: ${MESH_BUS_DSN}" in bus
