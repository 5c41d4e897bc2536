"""Brief: the numbers of the customer's text, as `brief.yaml` keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ops.figures.numbers import Checks, Coverage, Credit, Listed, Numbers, Population, Quota, Rate, Tax, Term

_FILE = Path(__file__).parent / "brief.yaml"


@dataclass(frozen=True, slots=True)
class Brief:
    """The numbers, the figures as quoted (by figure), and what the same figures of a mesh are computed with.

    `window`: the one that its household checks are of; `hours_per_visit`: what a spared visit counts.
    """

    numbers: Numbers
    stated: Mapping[str, Decimal]
    window: str
    hours_per_visit: Decimal


@cache
def the_brief() -> Brief:
    """What the text says."""
    text: dict[str, Any] = yaml.safe_load(_FILE.read_text("utf-8"))
    check, quota = text["check"], text["quota"]
    applications = sum(quota["applicants"].values())
    hours_per_visit = Decimal(quota["hours_per_visit"])
    numbers = Numbers(
        check=Checks(
            rates=[Rate(rate=rate["rate"], percent=Decimal(rate["percent"])) for rate in check["rates"]],
            **{name: check[name] for name in ("accepted", "opening_backlog", "completed", "ineligible", "kinds")},
        ),
        coverage=_coverage(text["coverage"]),
        quota=Quota(
            applications=applications,
            departments=quota["departments"],
            requests=applications * quota["departments"],
            visits=int(quota["hours_saved"] / hours_per_visit),
            hours_per_visit=hours_per_visit,
            starts=quota["starts"],
            first=quota["starts"][0],
            until=quota["until"],
        ),
        tax=Tax(grouped=None, **text["tax"]),
        credit=Credit(elsewhere={}, **text["credit"]),
        terms=[Term(**term) for term in text["terms"]],
        lists={name: Listed(**listed) for name, listed in text["lists"].items()},
    )
    stated = {figure: Decimal(value) for figure, value in text["stated"].items()}
    return Brief(numbers, stated, check["window"], hours_per_visit)


def _coverage(text: Mapping[str, Any]) -> Coverage:
    """The share is of a population that the text does not name: as many as make it true."""
    populations = [Population(**population) for population in text["populations"]]
    percent, with_code = Decimal(text["percent"]), populations[0].with_code
    entities = int((100 * with_code / percent).quantize(Decimal(1), ROUND_HALF_UP))
    implied = Population(population="enterprises, as the share implies 企业", entities=entities, with_code=with_code)
    return Coverage(percent=percent, populations=[implied, *populations], declared=implied)
