"""What holds for all flows together."""

from __future__ import annotations

from collections import Counter

import pytest

from streams.flows import FLOWS
from streams.operators.flow import Flow
from tests.stage import flow_matrix
from tests.stage.rehearsal import city_contracts

CONTRACTS = city_contracts()


def test_every_feed_has_one_writer() -> None:
    writers = Counter(feed for flow in FLOWS for feed in flow.outputs)
    assert not [feed for feed, count in writers.items() if count > 1]
    assert len({flow.name for flow in FLOWS}) == len(FLOWS)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_outputs_have_contracts_with_the_same_key_and_a_flow_as_their_source(flow: Flow) -> None:
    assert flow.queue in flow.outputs
    for feed, key in flow.outputs.items():
        assert tuple(CONTRACTS[feed].key) == tuple(key)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_inputs_name_columns_that_their_contracts_have(flow: Flow) -> None:
    for entry in flow.inputs:
        contract = CONTRACTS.get(entry.feed)
        if contract is None:
            continue  # an agency that is not part of the example city
        wanted = {*entry.columns, *([entry.event_time] if entry.event_time else [])}
        assert not wanted - contract.by_name.keys(), entry.feed


def test_every_check_of_the_handbook_has_a_test_and_the_matrix_says_which() -> None:
    assert not [check for check, tests in flow_matrix.named_tests().items() if not tests]
    text = flow_matrix.README.read_text(encoding="utf-8")
    assert text == flow_matrix.rendered(text), "run: python -m tests.stage.flow_matrix"
