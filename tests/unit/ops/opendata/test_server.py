from __future__ import annotations

import asyncio
import csv
import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from ops.opendata.answers import Answers
from ops.opendata.server import ADDRESSES, OpenData
from ops.opendata.store import Store


class Told:
    """An answer, as it came."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(answers: Answers, *paths: str, unwell: str = "", method: str = "GET", headers: Any = None) -> list[Told]:
    async def ask() -> list[Told]:
        server = TestServer(OpenData(answers, lambda: unwell).application())
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
        assert told.json
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
