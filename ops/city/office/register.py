"""Register: by what each department decides an application for a car quota, as SQL over its own tables.

`r` is the request as it was delivered: only the columns of the department's grant. The value is the reason to refuse, or null.
"""

from __future__ import annotations

from collections.abc import Mapping

_IS_PERSON = "r.id_type = 'CITIZEN_ID'"
_ENTITY = (
    "FROM public.enterprise e WHERE CASE r.id_type WHEN 'USCC' THEN e.uscc WHEN 'ORG_CODE' THEN e.org_code"
    " ELSE e.registration_no END = r.applicant_id"
)
_LISTED = "SELECT FROM public.abnormal_listing l WHERE l.ent_id = e.ent_id AND l.removed_date IS NULL"
_TAXPAYER = (
    "EXISTS (SELECT FROM public.registration t WHERE t.status = 'ABNORMAL' AND r.applicant_id = "
    "CASE r.id_type WHEN 'USCC' THEN t.uscc WHEN 'ORG_CODE' THEN t.org_code ELSE t.tax_no END)"
)
_AWARDED = (
    "EXISTS (SELECT FROM public.quota_award w JOIN public.quota_application a USING (app_code) "
    "WHERE a.applicant_id = r.applicant_id AND w.app_code <> r.app_code AND w.status = '{}')"
)

REFUSALS: Mapping[str, Mapping[str, str]] = {
    "transport": {"HAS_QUOTA": _AWARDED.format("VALID"), "QUOTA_RECENTLY_USED": _AWARDED.format("USED")},
    "police": {
        "HAS_VEHICLE": f"{_IS_PERSON} AND EXISTS (SELECT FROM public.vehicle v WHERE v.owner_id = r.applicant_id"
        " AND v.status IN ('NORMAL', 'SEIZED'))",
        "RESIDENCE_EXPIRED": f"{_IS_PERSON} AND EXISTS (SELECT FROM public.resident p WHERE p.citizen_id = r.applicant_id"
        " AND p.status <> 'REGISTERED')",
    },
    "hrss": {
        "INSURANCE_TOO_SHORT": f"{_IS_PERSON} AND EXISTS (SELECT FROM public.insurance_month m"
        " WHERE m.citizen_id = r.applicant_id AND NOT m.paid)",
    },
    "state_tax": {"TAX_TOO_LITTLE": _TAXPAYER},
    "local_tax": {"TAX_TOO_LITTLE": _TAXPAYER},
    "aic": {
        "NOT_REGISTERED": f"NOT ({_IS_PERSON}) AND NOT EXISTS (SELECT {_ENTITY} AND e.status = 'ACTIVE')",
        "LISTED_ABNORMAL": f"NOT ({_IS_PERSON}) AND EXISTS (SELECT {_ENTITY} AND EXISTS ({_LISTED}))",
    },
    "qts": {
        "CODE_EXPIRED": f"NOT ({_IS_PERSON}) AND EXISTS (SELECT FROM public.organisation_code o WHERE o.status <> 'VALID'"
        " AND (o.registration_no = r.applicant_id OR o.org_code = r.applicant_id OR o.org_code = substr(r.applicant_id, 9, 9)))",
    },
}
"""Department to the reasons for which it refuses, each with its condition, the first that holds counting."""


def reason_of(agency: str) -> str:
    """The expression that gives a department's reason to refuse the request `r`; null where it has none."""
    cases = " ".join(f"WHEN {holds} THEN '{reason}'" for reason, holds in REFUSALS[agency].items())
    return f"CASE {cases} END"
