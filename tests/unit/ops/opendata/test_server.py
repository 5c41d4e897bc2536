from __future__ import annotations

import asyncio
import csv
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest
from aiohttp.test_utils import TestClient, TestServer

from ops.opendata import download
from ops.opendata.answers import Answers
from ops.opendata.changes import NAMESPACE
from ops.opendata.server import ADDRESSES, OpenData
from ops.opendata.store import Store
from ops.opendata.terms import FILE, read_terms
from schemas.errors import Misconfigured
from schemas.guard.caller import Caller
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance
from schemas.guard.guard import Guard
from schemas.guard.table import TABLE


class Told:
    """An answer, as it came."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(
    answers: Answers,
    *paths: str,
    unwell: str = "",
    method: str = "GET",
    headers: Any = None,
    entrance: Entrance = LOOPBACK_ALONE,
) -> list[Told]:
    async def ask() -> list[Told]:
        server = TestServer(OpenData(answers, lambda: unwell, entrance=entrance).application())
        await server.start_server(access_log=None)
        async with TestClient(server) as client:
            found: list[Told] = []
            for path in paths:
                async with client.request(method, path, headers=headers) as answer:
                    found.append(Told(answer.status, answer.headers.copy(), await answer.text()))
            return found

    return asyncio.run(ask())


def test_every_address_answers_as_the_first_page_says(answers: Answers) -> None:
    paths = [path.replace("{code}", "enterprise") for path in ADDRESSES]
    paths[paths.index("/datasets/enterprise/sample")] += "?number=1"
    for path, told in zip(paths, get(answers, *paths), strict=True):
        assert (told.status, path) == (200, path)
        kind = told.headers["Content-Type"].partition(";")[0]
        assert told.json if kind.endswith("json") else kind in {"text/csv", "application/atom+xml"}
    assert get(answers, "/")[0].json["addresses"] == dict(ADDRESSES)


def test_what_a_caller_has_is_not_sent_again(answers: Answers) -> None:
    path = "/datasets/enterprise/rows?limit=5"
    [first] = get(answers, path)
    tag = first.headers["ETag"]
    [same] = get(answers, path, headers={"If-None-Match": tag})
    assert (same.status, same.body, same.headers["ETag"]) == (304, "", tag)
    [other] = get(answers, "/datasets/enterprise/rows?limit=6", headers={"If-None-Match": tag})
    assert other.status == 200


def test_csv_and_json_say_the_same_and_lead_on(answers: Answers) -> None:
    for form in ("json", "csv"):
        path, rows = f"/datasets/enterprise/rows?industry=F&limit=20&format={form}", []
        while path:
            [told] = get(answers, path)
            link = told.headers.get("Link", "").partition(">")[0][1:]
            if form == "csv":
                assert told.headers["Content-Type"] == "text/csv; charset=utf-8"
                rows += list(csv.DictReader(told.body.splitlines()))
            else:
                assert link == (told.json["next"] or "")
                rows += told.json["rows"]
            path = link
        assert len(rows) == 30
        assert {row["industry"] for row in rows} == {"F"}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nothing", 404), ("/datasets/nothing", 404), ("/datasets/enterprise/rows?format=xml", 400), ("/?x=1", 400)],
)
def test_an_error_says_what_why_and_what_to_do(answers: Answers, path: str, status: int) -> None:
    [told] = get(answers, path)
    assert told.status == status
    assert set(told.json) == {"what", "why", "fix"}
    assert get(answers, path, method="DELETE")[0].status in {404, 405}


def test_health_says_why_answers_may_be_behind(answers: Answers) -> None:
    assert get(answers, "/health")[0].status == 200
    [told] = get(answers, "/health", unwell="the broker does not answer")
    assert (told.status, told.json["why"]) == (503, "the broker does not answer")


def test_what_nobody_foresaw_is_logged_without_the_question(
    answers: Answers, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("disk")

    monkeypatch.setattr(store, "rows", broken)
    with caplog.at_level(logging.DEBUG):
        [told] = get(answers, "/datasets/enterprise/rows?name=某人")
    assert (told.status, set(told.json)) == (500, {"what", "why", "fix"})
    assert "RuntimeError at " in caplog.text
    assert "disk" not in caplog.text
    for record in caplog.records:
        assert "某人" not in record.getMessage()
        assert "%E6" not in record.getMessage()


def test_a_file_is_named_kept_and_not_sent_again(answers: Answers) -> None:
    path = "/datasets/enterprise/download?format=csv&industry=A"
    [first] = get(answers, path)
    assert "filename*=UTF-8''%E5%B9%BF" in first.headers["Content-Disposition"]
    assert int(first.headers["Content-Length"]) == len(first.body.encode())
    [head] = get(answers, path, method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, "", first.headers["Content-Length"])
    [same] = get(answers, path, headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status, same.body) == (304, "")
    assert [told.status for told in get(answers, f"{path}&x=1", "/datasets/nothing/download", f"{path[:-1]}%00")] == [
        400,
        404,
        200,
    ]


def test_who_comes_when_too_many_files_are_held_is_asked_to_come_again(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "HELD_MAX", 0)
    [told] = get(answers, "/datasets/enterprise/download")
    assert (told.status, told.headers["Retry-After"]) == (503, "10")


def test_changes_are_a_feed_that_readers_of_feeds_take(answers: Answers) -> None:
    for path, count in (("/changes.atom", 8), ("/datasets/enterprise/changes.atom", 1)):
        [told] = get(answers, path)
        feed = ET.fromstring(told.body.encode())
        entries = feed.findall(f"{{{NAMESPACE}}}entry")
        assert len(entries) >= count
        for each in (feed, *entries):
            assert all(each.find(f"{{{NAMESPACE}}}{name}") is not None for name in ("id", "title", "updated", "author"))
        assert len({each.findtext(f"{{{NAMESPACE}}}id") for each in entries}) == len(entries)


def test_openapi_describes_every_address_and_every_parameter_that_is_taken(answers: Answers) -> None:
    told = get(answers, "/openapi.json")[0].json
    assert told["openapi"].startswith("3.1.")
    assert told["paths"].keys() == ADDRESSES.keys()
    assert len({each["get"]["operationId"] for each in told["paths"].values()}) == len(ADDRESSES)
    for path, each in told["paths"].items():
        in_path = {one["name"] for one in each["get"]["parameters"] if one["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        asked = {one["name"]: "1" for one in each["get"]["parameters"] if one["in"] == "query" and "style" not in one}
        asked |= {"format": "csv"} if "format" in asked else {}
        [answer] = get(answers, f"{path.replace('{code}', 'enterprise')}?{urlencode(asked)}")
        assert answer.status == 200, (path, answer.body[:200])


def test_a_person_is_shown_pages_and_a_program_is_not(answers: Answers) -> None:
    browser = {"Accept": "text/html"}
    assert get(answers, "/")[0].headers["Content-Type"].startswith("application/json")
    page = get(answers, "/", headers=browser)[0]
    assert page.status == 200, "it is led on"
    assert "广州市商事主体登记信息" in page.body
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in page.headers
    hostile = "/portal/datasets?q=%3Cscript%3Ealert(1)%3C/script%3E"
    assert "<script>alert" not in get(answers, hostile, headers=browser)[0].body
    away = "/portal/preferences?language=en&back=//elsewhere.example"
    assert "广州" in get(answers, away, headers=browser)[0].body
    for path in ("/portal/nothing", "/portal/datasets/nothing", "/portal/datasets/enterprise/rows?nmae=x"):
        told = get(answers, path)[0]
        assert (told.status in {400, 404}, told.headers["Content-Type"]) == (True, "text/html; charset=utf-8")


class Nobody:
    """Knows nobody."""

    def caller(self, credential: str) -> Caller | None:
        return None

    def is_own(self, credential: str) -> bool:
        return False

    def is_good(self, caller: Caller) -> bool:
        return False


def test_behind_a_guard_what_is_published_is_for_everybody_within_limits_and_nothing_else_is(answers: Answers) -> None:
    now = [0.0]
    entrance = Entrance(guard=Guard(Nobody(), clock=lambda: now[0]))
    found = {
        (route.method, route.resource.canonical)
        for route in OpenData(answers, str).application().router.routes()
        if route.resource
    }
    assert {f"{method} {path}" for method, path in found if method != "HEAD"} == TABLE["opendata"].keys()
    paths = [
        path.replace("{code}", "enterprise") for path in ADDRESSES if path not in {"/health", "/datasets/{code}/sample"}
    ]
    pages = ["/portal/datasets", "/portal/datasets/enterprise", "/portal/api", "/static/console.css"]
    assert {told.status for told in get(answers, *paths, *pages, entrance=entrance)} == {200}
    assert get(answers, "/portal/nothing", entrance=entrance)[0].status == 404, "it asks nobody for a password"
    assert [told.status for told in get(answers, "/health", "/metrics", "/datasets/x/y", entrance=entrance)] == [
        401
    ] * 3
    while not (busy := entrance.guard and entrance.guard.anybody("127.0.0.1")):
        pass
    assert busy.status == 429
    [told] = get(answers, "/portal/datasets", entrance=entrance)
    assert (told.status, int(told.headers["Retry-After"]) >= 1) == (429, True)


def test_terms_that_say_too_little_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "terms.yaml"
    for text in ("", "licence: {}", FILE.read_text("utf-8").replace("tel:12345", "javascript:alert(1)")):
        path.write_text(text, "utf-8")
        with pytest.raises(Misconfigured) as refused:
            read_terms(path)
        assert refused.value.fix
    with pytest.raises(Misconfigured):
        read_terms(tmp_path / "nowhere.yaml")
