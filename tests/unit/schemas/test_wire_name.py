"""Names on the wire and back: what only looks as if it were escaped stays as it is."""

from __future__ import annotations

import pytest

from schemas.wire.name import avro_name, column_name


@pytest.mark.parametrize("name", ["名称", "占比%", "Full Name", "2x", "a_x4E2D_b", '引"号', "", "😀", "plain_name"])
def test_a_name_comes_back(name: str) -> None:
    assert column_name(avro_name(name)) == name


@pytest.mark.parametrize("wire", ["_x0041_", "_xD800_", "_xFFFFFF_", "_x4e2d_", "a_x4E2D", "_x04E2D_"])
def test_what_is_no_escape_of_ours_stays(wire: str) -> None:
    assert column_name(wire) == wire
