"""The city's systems, each a folder: configuration and small pure functions on the operators (streams/operators).

README.md beside this file lists them, and the check of the handbook that each test upholds. A new one is a folder, its
contracts under `schemas/`, and a line in FLOWS.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.flows import (
    certificate,
    check,
    credit,
    estate,
    housing,
    opendata,
    organisation,
    parcel,
    person,
    quota,
    registration,
    statistics,
    tax,
)
from streams.operators.flow import Flow

FLOWS: Sequence[Flow] = (
    person.FLOW,
    organisation.FLOW,
    quota.FLOW,
    tax.FLOW,
    check.FLOW,
    registration.FLOW,
    credit.FLOW,
    certificate.FLOW,
    opendata.FLOW,
    statistics.FLOW,
    housing.FLOW,
    parcel.FLOW,
    estate.FLOW,
)
"""All of them run in every worker of the flows (ops/run/flow_worker.py). A feed is written by one flow alone: a test holds that."""
