"""The alert rules as Prometheus' own tools read them: they are valid, and fire, keep quiet and stay silent where they should."""

from __future__ import annotations

import subprocess

import pytest

from ops.prometheus.configuration import RULES
from tests.stage.prometheus import program


def promtool(*arguments: object) -> None:
    ran = subprocess.run(
        [program("promtool"), *map(str, arguments)], cwd=RULES.parent, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"


def test_the_rules_are_valid() -> None:
    promtool("check", "rules", RULES)


@pytest.mark.parametrize("cases", ["alerts_test.yml", "objectives_test.yml"])
def test_every_rule_fires_on_its_trouble_and_is_quiet_without(cases: str) -> None:
    promtool("test", "rules", RULES.with_name(cases))
