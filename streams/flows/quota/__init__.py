"""Car quota (中小客车总量调控): one application, seven departments asked in parallel, a verdict, a roster, a draw anybody can check.

    application ─▶ case ─▶ claim (one per person and period) ─▶ case ─▶ review_request per department
    quota_result ─▶ case ─▶ refusal (of an answer that does not count)
    quota_result ─▶ case ─▶ verdict; VALID ─▶ draw ─▶ roster, draw_result ─▶ case ─▶ person (death, new vehicle) ─▶ alert

cycle.yaml and departments.yaml hold what the city may decide otherwise. HANDBOOK §4 E.
"""

from __future__ import annotations

from streams.flows.quota import application as rows
from streams.flows.quota.case import COLUMNS, REQUEST, VERDICT, fold_case
from streams.flows.quota.claim import fold_claim
from streams.flows.quota.refusal import QUEUE, REFUSAL, RESULTS
from streams.flows.quota.roster import RESULT, ROSTER, fold_draw, fold_draw_day
from streams.flows.quota.winner import ALERT, fold_person
from streams.operators.flow import QUEUE_KEY, Flow, Fold, Input

FLOW = Flow(
    name="quota",
    inputs=[
        Input(
            feed=rows.APPLICATION,
            subjects=rows.subjects_of_application,
            columns=[*COLUMNS, "period", "submitted_at", "status", "status_date"],
            event_time="submitted_at",
        ),
        *(
            Input(
                feed=feed,
                subjects=rows.subjects_of_answer,
                columns=["verdict", "reason_code", "answered_at"],
                event_time="answered_at",
                keeps_history=True,
            )
            for feed in RESULTS
        ),
        Input(feed=rows.REVIEW, subjects=rows.subjects_of_review, columns=["requested_at"], event_time="requested_at"),
        Input(feed=rows.AWARD, subjects=rows.subjects_by_code, columns=["app_code", "status"], keeps_history=True),
        Input(feed=rows.DRAW, subjects=rows.subjects_of_draw, keeps_history=True),
        Input(feed=rows.RESIDENT, subjects=rows.subjects_of_resident, columns=["status"], event_time="status_date"),
        Input(feed=rows.DEATH, subjects=rows.subjects_of_death, columns=["died_at"], event_time="died_at"),
        Input(
            feed=rows.VEHICLE,
            subjects=rows.subjects_of_vehicle,
            columns=["first_registered"],
            event_time="first_registered",
        ),
    ],
    folds={
        "case": Fold(fold_case),
        "claim": Fold(fold_claim),
        "person": Fold(fold_person, waits_for="won"),
        "draw": Fold(fold_draw, at_tick=True, is_patient=True),
        "drawday": Fold(fold_draw_day),
    },
    outputs={
        REQUEST: ("app_code", "review_round", "agency"),
        VERDICT: ("app_code", "period"),
        REFUSAL: ("refusal_id",),
        ROSTER: ("period", "quota_kind", "page"),
        RESULT: ("period", "quota_kind", "app_code"),
        ALERT: ("alert_id",),
        QUEUE: QUEUE_KEY,
    },
    queue=QUEUE,
    verdicts=("PASS", "FAIL", "NEED_INFO"),
)
