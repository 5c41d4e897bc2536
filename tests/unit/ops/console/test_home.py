"""The first page told live: made once for all who may see the same in one language, however many look."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ops.console.frame.page import BROWSER, Pages
from ops.console.frame.session import Sessions
from ops.console.frame.sight import Sight
from ops.console.pages.home import Home
from ops.watch.status_report import FeedStatus, Status
from schemas.guard.caller import EVERYBODY, EVERYTHING, Caller, Remit, Right, Role
from schemas.guard.middleware import CALLER, REMIT

VIEWERS = 50


def feed(name: str) -> FeedStatus:
    return FeedStatus(
        feed=name,
        origin="main",
        captured=12,
        per_second=1.5,
        rejected=0,
        lag_records=0,
        lag_seconds=0.0,
        capture_lag_seconds=0.0,
        snapshot=None,
        health="ok",
        reason="",
    )


def status() -> Status:
    feeds = (feed("civil.marriage"), feed("police.resident"))
    return Status(
        at=datetime(2026, 11, 30, tzinfo=UTC),
        feeds=feeds,
        subscriptions=(),
        processes=(),
        p50_seconds=None,
        p99_seconds=None,
    )


def viewer(of: str = "", *, language: str = "en", address: str = "/live") -> web.Request:
    request = make_mocked_request("GET", address, headers={"Cookie": f"language={language}"})
    caller, remit = EVERYBODY, EVERYTHING
    if of:
        caller = Caller(name=f"{of} officer", rights=(Right(role=Role.VIEWER, agencies=frozenset({of})),))
        remit = Remit(frozenset({of}))
    request[CALLER], request[REMIT], request[BROWSER] = caller, remit, Sessions.new_id()
    return request


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> tuple[Home, list[str]]:
    pages = Pages(Sessions(), is_guarded=False, is_secure=False)
    made: list[str] = []
    text = pages.text

    def counted(request: web.Request, template: str, **values: object) -> str:
        made.append(template)
        return text(request, template, **values)

    monkeypatch.setattr(pages, "text", counted)
    return Home(pages, Sight(status), None), made


def test_fifty_viewers_cost_what_one_costs(home: tuple[Home, list[str]]) -> None:
    page, made = home
    now = status()
    told = [page._events(viewer(), now) for _ in range(VIEWERS)]
    assert sorted(made) == ["home_board.html", "home_headline.html"]
    assert all(events is told[0] for events in told)
    page._events(viewer(), replace(now, feeds=now.feeds[:1]))
    assert len(made) == 4, "another status is told anew"


def test_who_may_see_other_things_is_told_others(home: tuple[Home, list[str]]) -> None:
    page, _ = home
    now = status()
    everything, civil, police = (page._events(viewer(of), now)["board"].decode() for of in ("", "civil", "police"))
    assert ("civil.marriage" in everything, "police.resident" in everything) == (True, True)
    assert ("civil.marriage" in civil, "police.resident" in civil) == (True, False)
    assert ("civil.marriage" in police, "police.resident" in police) == (False, True)
    assert page._events(viewer("civil", language="zh"), now)["board"].decode() != civil
    assert page._events(viewer(address="/live?all=1"), now) is not page._events(viewer(), now)
