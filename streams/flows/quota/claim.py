"""Claim (占位): one applicant has one application in a period, whatever its quota kind and method (E5)."""

from __future__ import annotations

from streams.operators.flow import Outcome, Subject, Tell


def fold_claim(subject: Subject) -> Outcome:
    """The fold of `claim:<citizen ID>|<period>`: the earliest own application of the period has the place.

    An application carried over from an earlier period gives way to one made for this period. Each is told who has it.
    """
    outcome = Outcome()
    applications = subject.told("apply")
    if not applications:
        return outcome
    first = min(applications, key=lambda row: (row["is_carried"], row["submitted_at"], row["app_code"]))
    for row in applications:
        answer = {"period": row["period"], "accepted": first["app_code"]}
        outcome.tells.append(Tell(f"case:{row['app_code']}", "claim", answer))
    return outcome
