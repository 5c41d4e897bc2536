"""Base organisation archive (法人基础档案): old and new numbers, four kinds of register, one entity (HANDBOOK §4 D).

    aic, civil, staffing ──▶ org ◀──claim, standing──▶ id ◀──ask, answer──▶ tax ◀── state_tax, local_tax
                              ▲ ▲                       ▲ └──ask, answer: organisation code to registration number
                              │ └───────link────────────┤
                              └───────link──── tax      └── qts

An organisation is a row of its home registry, and its id says which. Everything else is matched to it by the ladder of
HANDBOOK §2.6; what cannot be matched, contradicts itself, or is claimed twice, waits on the queue. Periods end before `valid_to`.
"""

from __future__ import annotations

from streams.flows.organisation import coverage, entity, identifier, taxpayer
from streams.flows.organisation.rules import CONFLICT, COVERAGE, IDENTIFIER, ORGANISATION
from streams.operators.flow import Flow, Fold, Input

_CODED = ("uscc", "name", "kind", "region", "status", "status_date")

FLOW = Flow(
    name="organisation",
    inputs=[
        Input(
            feed=entity.ENTERPRISE,
            subjects=entity.enterprise_subjects,
            columns=(
                *("uscc", "registration_no", "org_code", "name", "kind", "industry", "legal_rep_id"),
                *("reg_region", "established", "status", "status_date"),
            ),
            keeps_history=True,
        ),
        Input(
            feed=entity.CHANGES,
            subjects=entity.change_subjects,
            columns=("item", "new_value", "changed_date"),
            event_time="changed_date",
        ),
        Input(
            feed="civil.social_organisation",
            subjects=entity.coded_subjects("civil"),
            columns=_CODED,
            keeps_history=True,
        ),
        Input(
            feed="staffing.institution",
            subjects=entity.coded_subjects("staffing"),
            columns=_CODED,
            keeps_history=True,
        ),
        Input(
            feed=identifier.CODES,
            subjects=identifier.code_subjects,
            columns=identifier.CODE_COLUMNS,
            keeps_history=True,
        ),
        *(
            Input(
                feed=feed,
                subjects=taxpayer.tax_subjects,
                columns=taxpayer.REGISTRATION_COLUMNS,
                keeps_history=True,
            )
            for feed in taxpayer.REGISTRATIONS
        ),
    ],
    folds={
        "org": Fold(entity.fold),
        "id": Fold(identifier.fold),
        "tax": Fold(taxpayer.fold),
        "name": Fold(taxpayer.fold_name),
        "population": Fold(coverage.fold, at_tick=True),
    },
    outputs={
        ORGANISATION: ["organisation_id"],
        IDENTIFIER: ["id_type", "id_no"],
        CONFLICT: ["conflict_id"],
        COVERAGE: ["population"],
    },
    queue=CONFLICT,
)
