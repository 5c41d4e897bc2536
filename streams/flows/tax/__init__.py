"""Comprehensive tax governance (综合治税): warnings about what should have reached the tax offices (HANDBOOK §4 F).

Rules W1 to W9 are rows of rules.yaml and a small function each; absence is judged by streams/operators/watch.py.

| kind       | subject                                        | fold          | rules            |
|------------|------------------------------------------------|---------------|------------------|
| `ent`      | a registered entity, by `ent_id`                | enterprise.py | W1, W2, W4, W6   |
| `party`    | a holder of permits, land or meters, by number  | party.py      | W5, W7, W8       |
| `sale`     | a property sale, by contract                    | sale.py       | W3               |
| `tax`      | a taxpayer, by tax number                       | taxpayer.py   | W9               |
| `id`       | a number where the others meet                  | identity.py   |                  |
| `industry` | an industry's power use in a month              | industry.py   | (W6)             |
| `warning`  | a warning and its answers                       | warning.py    |                  |
| `taxpayer` | the inbox of a taxpayer                         | warning.py    |                  |
| `source`, `board` | rows of a feed; the boards               | board.py      |                  |
"""

from __future__ import annotations

from streams.flows.tax import board, enterprise, identity, industry, party, sale, taxpayer, warning
from streams.flows.tax.rules import FEEDBACK, INBOX, PRECISION, QUEUE, REFUSAL, SOURCE, WARNING
from streams.operators.flow import Flow, Fold, Input

FLOW = Flow(
    name="tax",
    inputs=[
        Input(
            feed=enterprise.ENTERPRISE,
            subjects=enterprise.subjects,
            columns=enterprise.ENTERPRISE_COLUMNS,
            event_time="updated_at",
            keeps_history=True,
            stays=True,
        ),
        Input(
            feed=enterprise.CHANGE,
            subjects=enterprise.subjects,
            columns=enterprise.CHANGE_COLUMNS,
            event_time="changed_date",
            stays=True,
        ),
        Input(
            feed=enterprise.SHAREHOLDER,
            subjects=enterprise.subjects,
            columns=["holder_id"],
            keeps_history=True,
            stays=True,
        ),
        Input(feed=identity.CODES, subjects=identity.code_subjects, columns=["registration_no"]),
        *(
            Input(
                feed=feed, subjects=identity.body_subjects, columns=["name", "region"], keeps_history=True, stays=True
            )
            for feed in identity.BODIES
        ),
        *(
            Input(
                feed=feed,
                subjects=taxpayer.tax_subjects,
                columns=taxpayer.REGISTRATION_COLUMNS,
                event_time="registered_date",
                stays=True,
            )
            for feed in taxpayer.REGISTRATIONS
        ),
        *(
            Input(
                feed=feed,
                subjects=taxpayer.filing_subjects,
                columns=taxpayer.FILING_COLUMNS,
                event_time="filed_at",
                stays=True,
            )
            for feed in taxpayer.FILINGS
        ),
        Input(
            feed=sale.SALE,
            subjects=sale.contract_subjects,
            columns=sale.SALE_COLUMNS,
            event_time="transferred_date",
            stays=True,
        ),
        Input(feed=sale.RECEIPT, subjects=sale.contract_subjects, columns=["contract_no"], event_time="paid_at"),
        Input(feed=party.PERMIT, subjects=party.contractor, columns=party.PERMIT_COLUMNS, event_time="start_date"),
        Input(
            feed=party.PARCEL,
            subjects=party.grantee,
            columns=party.PARCEL_COLUMNS,
            event_time="updated_at",
            keeps_history=True,
        ),
        *(
            Input(feed=feed, subjects=party.holder, columns=party.LICENCE_COLUMNS, event_time="issue_date")
            for feed in party.LICENCES
        ),
        Input(feed=party.USAGE, subjects=party.user, columns=party.USAGE_COLUMNS),
        *(
            Input(
                feed=feed,
                subjects=warning.feedback_subjects,
                columns=warning.FEEDBACK_COLUMNS,
                event_time="answered_at",
            )
            for feed in warning.FEEDBACKS
        ),
    ],
    folds={
        "ent": Fold(enterprise.fold),
        "party": Fold(party.fold),
        "sale": Fold(sale.fold),
        "tax": Fold(taxpayer.fold),
        "id": Fold(identity.fold),
        "industry": Fold(industry.fold, at_tick=True),
        "warning": Fold(warning.fold),
        "taxpayer": Fold(warning.inbox),
        "source": Fold(board.source, at_tick=True),
        "board": Fold(board.board, at_tick=True),
    },
    outputs={
        WARNING: ["warning_id"],
        INBOX: ["taxpayer"],
        FEEDBACK: ["warning_id"],
        PRECISION: ["rule"],
        SOURCE: ["agency"],
        REFUSAL: ["refusal_id"],
        QUEUE: ["conflict_id"],
    },
    queue=QUEUE,
)
