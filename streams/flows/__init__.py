"""The city's systems, each a folder: configuration and small pure functions on the operators (streams/operators).

README.md beside this file lists them, and the check of the handbook that each test upholds. A new one is a folder, its
contracts under `schemas/`, and a line in FLOWS.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.operators.flow import Flow

FLOWS: Sequence[Flow] = ()
