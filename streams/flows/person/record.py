"""Record: a person's row of `base.person`: the fields by priority, and those that need more than the newest row."""

from __future__ import annotations

from datetime import date, timedelta

from streams.flows.person.evidence import ID_TYPES, died_on
from streams.flows.person.ladder import Judged
from streams.flows.person.life import ALIVE, Death
from streams.flows.person.move import Gathered
from streams.flows.person.timeline import day
from streams.operators.flow import Fact, Row, Subject
from streams.operators.merge import Merged, comparable, origin


def record_of(subject: Subject, gathered: Gathered, judged: Judged, merged: Merged, death: Death) -> Row:
    """The person's row of `base.person`."""
    values = dict(merged.values)
    provenance = dict(merged.provenance)
    if _is_unemployed(judged, merged):
        values["employer"] = None
        provenance.pop("employer", None)
    values["marital_status"], married = _marital_status(judged)
    told_by = {"marital_status": married, "life_status": _of_life(judged, death), "death_date": _of_date(death)}
    for name, source in told_by.items():
        if source is not None:
            committed_at = source.committed_at_ms * 1000
            provenance[name] = {"feed": source.feed, "position": source.position, "committed_at": committed_at}
    regions = [merged.facts[name].event_at for name in ("hukou_region", "residence_region") if name in merged.facts]
    return {
        "id_type": ID_TYPES[subject.kind],
        "id_no": subject.id,
        "supersedes": sorted(gathered.superseded),
        **values,
        "former_names": _former_names(judged, merged.values["name"]),
        "life_status": death.status,
        "death_date": death.died_on,
        "region_as_of": day(max(regions)) if regions else None,
        "provenance": [{"field": name, **provenance[name]} for name in sorted(provenance)],
        "base_version": max((entry["committed_at"] // 1000 for entry in provenance.values()), default=0),
    }


def _of_life(judged: Judged, death: Death) -> Fact | None:
    """Whose word the life status is: the last of the rows that state a death, else the register's, since it says so."""
    if death.claims:
        return max(death.claims, key=lambda fact: (fact.committed_at_ms, fact.feed, fact.row_id))
    if death.status != ALIVE:
        return None
    kept = [fact for fact in judged.accepted if fact.feed in {"police.resident", "police.residence_permit"}]
    kept.sort(key=lambda fact: (fact.feed != "police.resident", fact.row_id))
    return origin(kept[0], lambda row: row["status"])


def _of_date(death: Death) -> Fact | None:
    """Whose word the date of death is."""
    if death.died_on is None:
        return None
    stated = [fact for fact in death.claims if died_on(fact.row or {}) == death.died_on]
    return min(stated, key=lambda fact: (fact.committed_at_ms, fact.feed, fact.row_id))


def _former_names(judged: Judged, present: str | None) -> list[str]:
    """Names that the register gave before, in the order of their being known; variant spellings are none."""
    found: list[str] = []
    for fact in judged.accepted:
        if fact.feed == "police.resident":
            versions = (*fact.earlier, fact)
            names = [(version.row or {}).get(column) for version in versions for column in ("former_name", "name")]
            found += [name for name in names if name and comparable(name) != comparable(present or "")]
    return list(dict.fromkeys(found))


def _is_unemployed(judged: Judged, merged: Merged) -> bool:
    """Whether an unemployment registration is open that began after the last month paid for."""
    if "employer" not in merged.facts:
        return False
    period = (merged.facts["employer"].row or {})["period"]
    for fact in judged.accepted:
        if fact.feed == "hrss.unemployment" and fact.row is not None and fact.row["ended_date"] is None:
            registered = month_of(fact.row["registered_date"])
            if registered > period:
                return True
    return False


def month_of(days: int) -> str:
    """The month of an Avro date, yyyymm."""
    return f"{date(1970, 1, 1) + timedelta(days=days):%Y%m}"


def _marital_status(judged: Judged) -> tuple[str | None, Fact | None]:
    """By the registrations in order; an annulment takes back the marriage before it, a reissue changes nothing."""
    rows = [fact for fact in judged.accepted if fact.feed == "civil.marriage" and fact.row is not None]
    rows.sort(key=lambda fact: ((fact.row or {})["registered_date"], fact.row_id))
    history: list[tuple[str | None, Fact | None]] = [(None, None)]
    for fact in rows:
        kind = (fact.row or {})["kind"]
        if kind == "MARRIAGE":
            history.append(("MARRIED", fact))
        elif kind == "DIVORCE":
            history.append(("DIVORCED", fact))
        elif kind == "ANNULMENT" and history[-1][0] == "MARRIED":
            history.pop()
    return history[-1]
