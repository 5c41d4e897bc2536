"""The two key works that ask nobody, land-transfer payments and the market of homes, once more through the real broker."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.stage.broker_rehearsal import BrokerRehearsal
from tests.unit.streams.flows import test_estate as estate
from tests.unit.streams.flows import test_parcel as parcel


@pytest.mark.parametrize(
    ("module", "story"),
    [
        (parcel, parcel.test_a_payment_that_is_heard_of_late_takes_back_what_was_said),
        (parcel, parcel.test_regions_sum_to_the_city_and_a_contract_that_goes_leaves_them),
        (estate, estate.test_a_warning_says_what_it_was_judged_by),
        (estate, estate.test_a_sale_that_comes_late_takes_its_warning_back),
    ],
    ids=lambda value: getattr(value, "__name__", "").rpartition(".")[2],
)
def test_through_the_broker(
    module: ModuleType, story: Callable[[Any], None], rehearsal: type[BrokerRehearsal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Rehearsal", rehearsal)
    city = module.City()
    story(city)
    assert isinstance(city.rehearsal, BrokerRehearsal)
