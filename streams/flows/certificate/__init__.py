"""Electronic certificates (电子证照, HANDBOOK §4 J): one standing that every counter sees, and every use judged by it.

    certs.certificate, _check, _use ──▶ certificate:<cert_id> ──asks──▶ holder:<citizen ID> ◀── base.person
                                            │        ▲    └──────asks──▶ card:<card_no>      ◀── disabled.card
                                            │        └──── life, card ──────┘
                                            ├──▶ certificate.status, .use, .holder_view, .reimbursement, .queue
    certs.certificate_type ──▶ register:types ──▶ certificate.type_register

Configuration: types.csv (138 types), extracts.csv (what may be extracted, by matter and agency), rules.yaml (limits), all
dated but the first. Signatures are verified where the files are (signing.py), never in a fold.
"""

from __future__ import annotations

from streams.flows.certificate.certificate import (
    CERTIFICATE_FEED,
    CHECK_FEED,
    STATUS,
    certificates_of,
    fold_certificate,
)
from streams.flows.certificate.evidence import CARD_FEED, PERSON_FEED, card_key, fold_card, fold_holder, holders_of
from streams.flows.certificate.types import QUEUE, REGISTER, TYPE_FEED, fold_register
from streams.flows.certificate.use import HOLDER_VIEW, REIMBURSEMENT, USE_FEED, USES
from streams.operators.flow import QUEUE_KEY, Flow, Fold, Input

FLOW = Flow(
    name="certificate",
    inputs=[
        Input(
            feed=CERTIFICATE_FEED,
            subjects=certificates_of,
            columns=(
                "type_code",
                "cert_no",
                "holder_id_type",
                "holder_id",
                "holder_name",
                "issuer",
                "issue_date",
                "valid_from",
                "valid_to",
                "version",
                "file_digest",
                "status",
                "status_date",
                "previous_cert_id",
            ),
            event_time="updated_at",
            keeps_history=True,
        ),
        Input(
            feed=CHECK_FEED,
            subjects=lambda row: [f"certificate:{row['cert_id']}"],
            columns=("file_digest", "result"),
            event_time="checked_at",
        ),
        Input(
            feed=USE_FEED,
            subjects=lambda row: [f"certificate:{row['cert_id']}"],
            columns=(
                "cert_id",
                "verifier_agency",
                "officer",
                "matter_code",
                "purpose",
                "used_at",
                "items_disclosed",
                "holder_present",
                "result",
            ),
            event_time="used_at",
        ),
        Input(feed=TYPE_FEED, subjects=lambda _: ["register:types"], columns=("holder_kind", "is_public", "items")),
        Input(
            feed=CARD_FEED,
            subjects=lambda row: [card_key(row["card_no"])],
            columns=("citizen_id", "kind", "level", "status"),
        ),
        Input(
            feed=PERSON_FEED,
            subjects=holders_of,
            columns=("supersedes", "life_status", "death_date"),
            written="base_version",
        ),
    ],
    folds={
        "certificate": Fold(fold_certificate),
        "holder": Fold(fold_holder, waits_for="asks_holder"),
        "card": Fold(fold_card),
        "register": Fold(fold_register, at_tick=True),
    },
    outputs={
        STATUS: ["cert_id"],
        USES: ["use_id"],
        HOLDER_VIEW: ["holder_id_type", "holder_id", "use_id"],
        REGISTER: ["type_code"],
        REIMBURSEMENT: ["case_no"],
        QUEUE: QUEUE_KEY,
    },
    queue=QUEUE,
)
