"""A request that is answered late: told once, for as long as it waits, whatever process watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ops.grants.overdue import Overdue
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Grant, Status
from schemas.agreement.grant_life import Act, Life, Step
from schemas.errors import Transient
from schemas.incident import MemoryIncidents

AT = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
DUE = AT + timedelta(days=14)
ASKED = Grant(
    grant_id="tax.aic.t", subscriber="tax", feed="aic.t", columns=("id",), purpose="核验", status=Status.SUBMITTED
)
LIFE = Life().asked(Step.of(ASKED, Act.REQUEST, AT, "tax"), DUE, "cn-2025")
ENTRY = GrantEntry(grant=ASKED, key_schema_id=1, value_schema_id=2, version=1, life=LIFE)


class Watch:
    def __init__(self, incidents: MemoryIncidents) -> None:
        self.incidents, self.entry, self.told = incidents, ENTRY, list[tuple[str, Mapping[str, str]]]()
        self.overdue = Overdue(self.directory, incidents, incidents.present, self.tell)

    def directory(self) -> Directory:
        return Directory(grants={"tax.aic.t": self.entry})

    def tell(self, grant_id: str, line: Mapping[str, str]) -> None:
        self.told.append((grant_id, line))

    def reasons(self) -> list[str]:
        return [each.reason for each in self.incidents.present().values()]


def test_what_is_late_is_told_until_it_is_answered_and_audited_once() -> None:
    watch = Watch(MemoryIncidents())
    watch.overdue.look(DUE - timedelta(seconds=1))
    assert (watch.told, watch.reasons()) == ([], [])
    for _ in range(3):
        watch.overdue.look(DUE)
    [(grant_id, line)] = watch.told
    assert (grant_id, line["waits_for"], line["rules"]) == ("tax.aic.t", "compliance", "cn-2025")
    assert "overdue 逾期" in watch.reasons()[0]
    assert "compliance has not given one" in watch.reasons()[0]
    # Half an answer is late as well, and says who is next.
    watch.entry = replace(ENTRY, grant=replace(ASKED, status=Status.COMPLIANCE_OK))
    watch.overdue.look(DUE)
    assert "provider has not given one" in watch.reasons()[0]
    watch.entry = replace(ENTRY, grant=replace(ASKED, status=Status.ACTIVE))
    watch.overdue.look(DUE)
    assert (watch.reasons(), len(watch.told)) == ([], 1)


def test_another_process_tells_it_no_second_time_and_ends_what_a_former_one_began() -> None:
    incidents = MemoryIncidents()
    Watch(incidents).overdue.look(DUE)
    later = Watch(incidents)
    later.overdue.look(DUE)
    assert (later.told, len(later.reasons())) == ([], 1)
    last = Watch(incidents)
    last.entry = replace(ENTRY, grant=replace(ASKED, status=Status.REFUSED))
    last.overdue.look(DUE)
    assert last.reasons() == []


def test_what_could_not_be_audited_is_tried_again() -> None:
    watch = Watch(MemoryIncidents())

    def away(grant_id: str, line: Mapping[str, str]) -> None:
        raise Transient("kafka: no answer")

    failing = Overdue(watch.directory, watch.incidents, watch.incidents.present, away)
    with pytest.raises(Transient):
        failing.look(DUE)
    assert watch.reasons() == []
    watch.overdue.look(DUE)
    assert len(watch.told) == 1
