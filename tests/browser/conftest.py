"""For the tests of a module one browser, and one town hall on the run's mesh with a console beside it.

The browser goes before other modules' tests come: as long as it is driven its thread has a running event loop, and no other may run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.reader import Reader, chromium
from tests.stage.console import console
from tests.stage.running_mesh import RunningMesh
from tests.stage.townhall import TownHall, open_town_hall


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def hall(mesh_of_module: RunningMesh) -> TownHall:
    return open_town_hall(mesh_of_module)


@pytest.fixture(scope="module")
def url(mesh_of_module: RunningMesh) -> Iterator[str]:
    """The address of a console beside the mesh."""
    with console(mesh_of_module) as url:
        yield url


@pytest.fixture
def reader(browser: Browser, url: str) -> Iterator[Callable[..., Reader]]:
    """Makes readers; whatever one of them met that a person would call an error fails the test."""
    made: list[Reader] = []

    def make(**how: Any) -> Reader:
        made.append(Reader(browser, how.pop("url", url), **how))
        return made[-1]

    yield make
    for each in made:
        each.close()
    assert not [trouble for each in made for trouble in each.troubles]
