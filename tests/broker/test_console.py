"""The console beside a running mesh: what a browser, a health check and an operator get from it."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import pytest

from tests.stage.console import console
from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until


def get(url: str) -> tuple[int, str, dict[str, str]]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers)


def test_the_console_shows_what_the_mesh_does(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, _ = mesh.database(agency), mesh.database(subscriber)
    feed = f"{agency}.t"
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "note": "string"})})
    mesh.subscriber(subscriber, {"feed": feed, "columns": ["note"]})
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT n, 'personal words' FROM generate_series(1, 30) n")
    mesh.done("onboard", mesh.folder)
    mesh.verified(feed, 30)

    with console(mesh) as url:
        status, page, headers = get(url)
        assert status == 200
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        parts = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
        assert len(parts) >= 4
        assert {get(f"{url}{part}")[0] for part in parts} == {200}

        def told() -> Any:
            report = json.loads(get(f"{url}/status")[1])
            feeds = {entry["feed"]: entry for entry in report.get("feeds", ())}
            subscriptions = {entry["grant_id"]: entry for entry in report.get("subscriptions", ())}
            return (feeds.get(feed), subscriptions.get(f"{subscriber}.{feed}"), report) if feed in feeds else None

        shown, subscription, report = until(told, 30, "the feed on the console")
        assert shown["health"] == "ok"
        assert subscription["health"] == "ok"
        assert {process["process"] for process in report["processes"]} >= {"capture", "streams", "delivery", "registry"}
        assert "personal words" not in json.dumps(report)
        assert until(lambda: get(f"{url}/health")[1], 30, "health") is not None
        assert get(f"{url}/nothing")[0] == 404
        # The command line says the same of this feed. Of the rest it may not: other tests onboard feeds of theirs meanwhile.
        until(
            lambda: _moved(mesh.done("status"), feed) == _moved(json.loads(get(f"{url}/status")[1]), feed) != [],
            30,
            "the same of this feed",
        )


def _moved(report: Mapping[str, Any], feed: str) -> list[dict[str, Any]]:
    """What has moved of `feed` so far; its rates and lags are of the moment and left out."""
    still = {
        "feed",
        "grant_id",
        "subscriber",
        "sink",
        "captured",
        "rejected",
        "delivered",
        "suppressed",
        "dead",
        "health",
        "reason",
    }
    told = [entry for entry in (*report["feeds"], *report["subscriptions"]) if entry["feed"] == feed]
    return [{name: value for name, value in entry.items() if name in still} for entry in told]


def test_a_taken_port_is_one_readable_line(mesh: RunningMesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for hop in ("console", "registry"):
            ran = mesh.run("run", hop, "--port", port, "--name", f"{hop}-{mesh.unique}")
            assert ran.status == 1
            assert "Traceback" not in ran.err
            assert str(port) in ran.err
            assert "in use" in ran.err
            assert "fix: " in ran.err


@pytest.mark.parametrize("port", [-1, 70000])
def test_a_port_that_is_none_is_refused(mesh: RunningMesh, port: int) -> None:
    ran = mesh.run("run", "console", "--port", port)
    assert ran.status == 2
    assert "--port" in ran.err
