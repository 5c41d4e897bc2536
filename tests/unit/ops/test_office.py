"""How an office treats a question: by seed and question alone, with the shares that its habits say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ops.city.office.conduct import Habits, Slip, conduct
from ops.city.office.register import REFUSALS, reason_of
from ops.city.quota import REASONS

HABITS = Habits(silent=0.1, late=0.05, wrong=0.04, need_info=0.03, misspelt=0.02, contradicted=0.01)


def test_a_question_is_treated_alike_whenever_it_is_asked():
    questions = [f"police|{number}|1" for number in range(50)]
    assert [conduct(7, each, HABITS) for each in questions] == [conduct(7, each, HABITS) for each in questions]
    assert [conduct(7, each, HABITS) for each in questions] != [conduct(8, each, HABITS) for each in questions]


def test_slips_have_the_shares_that_the_habits_say():
    count = 20_000
    slips = Counter(conduct(1, f"aic|{number}|1", HABITS).slip for number in range(count))
    for slip, share in (
        (Slip.SILENT, HABITS.silent),
        (Slip.LATE, HABITS.late),
        (Slip.WRONG, HABITS.wrong),
        (Slip.NEED_INFO, HABITS.need_info),
        (Slip.MISSPELT, HABITS.misspelt),
        (Slip.CONTRADICTED, HABITS.contradicted),
    ):
        assert abs(slips[slip] / count - share) < 0.2 * share + 0.001, slip


def test_an_office_without_slips_takes_the_days_that_it_may():
    habits = replace(HABITS, silent=0, late=0, wrong=0, need_info=0, misspelt=0, contradicted=0)
    found = [conduct(1, str(number), habits) for number in range(1_000)]
    assert {each.slip for each in found} == {Slip.NONE}
    days = [each.wait.total_seconds() / 86_400 for each in found]
    assert habits.least_days <= min(days) < max(days) <= habits.most_days


def test_each_department_of_the_seven_has_a_register_to_decide_by():
    assert REFUSALS.keys() == REASONS.keys()
    for agency, refusals in REFUSALS.items():
        assert refusals.keys() <= set(REASONS[agency]), "reasons of its own"
        assert all(f"THEN '{reason}'" in reason_of(agency) for reason in refusals)
