"""Coverage (覆盖率): how many of a declared population have a unified social credit code (subjects `population:<code>`).

Each organisation counts itself into the populations it belongs to; a share is never shown without its two numbers and the
definition of whom it counts (HANDBOOK §1.3, N2 to N4). `with_uscc` are those whose registry has written down a code; those among
them whose code fails GB 32100-2015 are missing in `with_valid_uscc`, and each is an item USCC_INVALID of the queue.
"""

from __future__ import annotations

from streams.flows.organisation.number import valid_number
from streams.flows.organisation.rules import COVERAGE, USCC, populations_at
from streams.operators.flow import Outcome, Subject


def count(outcome: Outcome, home: str, kind: str, is_live: bool, uscc: str | None, now: int) -> None:
    """Count an organisation into its populations."""
    for population in populations_at(now):
        if home not in population.get("homes", [home]) or kind not in population.get("kinds", [kind]):
            continue
        if population["statuses"] == "LIVE" and not is_live:
            continue
        to = f"population:{population['population']}"
        outcome.counts[to, "entities"] = 1
        if uscc and uscc.strip():
            outcome.counts[to, "with_uscc"] = 1
        if valid_number(USCC, uscc) is not None:
            outcome.counts[to, "with_valid_uscc"] = 1


def fold(subject: Subject) -> Outcome:
    """The population's coverage now."""
    outcome = Outcome()
    declared = {population["population"]: population for population in populations_at(subject.now)}
    population = declared.get(subject.id)
    entities = subject.counts.get("entities", 0)
    if population is None or not entities:
        return outcome
    with_uscc = subject.counts.get("with_uscc", 0)
    row = {
        "population": subject.id,
        "definition": population["definition"],
        "entities": entities,
        "with_uscc": with_uscc,
        "with_valid_uscc": subject.counts.get("with_valid_uscc", 0),
        "share_numerator": with_uscc,
        "share_denominator": entities,
        "is_declared_base": bool(population.get("is_declared_base")),
    }
    outcome.publish(COVERAGE, row)
    return outcome
