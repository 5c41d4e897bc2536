from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ops.opendata.answers import Answers
from ops.opendata.store import Store
from streams.flows.opendata import FLOW
from tests.stage.open_city import CONTRACTS, catch_up, directory, fill, tick
from tests.stage.rehearsal import Rehearsal


@pytest.fixture
def city() -> Rehearsal:
    city = Rehearsal(FLOW, CONTRACTS)
    fill(city)
    tick(city, 0)
    return city


@pytest.fixture
def store(tmp_path: Path, city: Rehearsal) -> Iterator[Store]:
    with closing(Store(tmp_path / "opendata.sqlite")) as store:
        catch_up(store, city)
        yield store


@pytest.fixture
def answers(store: Store) -> Answers:
    return Answers(store, directory())
