from __future__ import annotations

import pytest

from schemas.errors import Misconfigured
from schemas.incident import Incident, MemoryIncidents, begin_for


def test_an_incident_keeps_its_beginning_while_its_words_change() -> None:
    incidents = MemoryIncidents()
    incidents.begin("feed", "a.t", state="waiting", reason="its table is locked")
    (first,) = incidents.present().values()
    incidents.begin("feed", "a.t", state="stopped", reason="its table is gone", fix="make it again")
    (second,) = incidents.present().values()
    assert (second.since, second.state, second.fix) == (first.since, "stopped", "make it again")
    assert (first.is_standstill, second.is_standstill) == (False, True)
    incidents.end("feed", "a.t")
    incidents.end("feed", "a.t")
    assert incidents.present() == {}


def test_an_incident_comes_back_from_its_record() -> None:
    incidents = MemoryIncidents()
    begin_for(incidents, "source", "a.main", "stopped", Misconfigured("source a.main", "no slot", fix="make one"))
    (incident,) = incidents.present().values()
    assert (incident.reason, incident.fix) == ("source a.main: no slot", "make one")
    assert Incident.from_json(incident.to_json()) == incident
    with pytest.raises(ValueError, match="unknown kind"):
        Incident.from_json({**incident.to_json(), "state": "asleep"})
