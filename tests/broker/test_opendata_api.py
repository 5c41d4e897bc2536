"""The open data API beside real servers: what the flow publishes through the broker is what HTTP answers, and no more."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ops.opendata.answers import Answers
from ops.opendata.follow import FEEDS, Follow
from ops.opendata.server import OpenData
from ops.opendata.store import Store
from schemas.agreement.directory import Directory, FeedEntry
from schemas.contract import Contract
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from schemas.wire.envelope import key_schema, value_schema
from streams.engine.derived import DerivedFeed
from streams.engine.effects import RowChange
from streams.flows.opendata import FLOW
from streams.flows.opendata.sample import draw
from tests.stage import feeds
from tests.stage.broker_rehearsal import BrokerRehearsal, on
from tests.stage.open_city import CONTRACTS, fill, published, resident, tick
from tests.stage.running_mesh import RunningMesh
from tests.stage.until import until


class Portal:
    """Open feeds of this test's own names on the broker, and an API that follows them."""

    def __init__(self, kafka: Kafka, unique: str, folder: Path) -> None:
        self._kafka = kafka
        self._folder = folder
        self.feeds = {f"{unique}.{kind}": kind for kind in FEEDS.values()}
        self._named = {f"open.{kind}": feed for feed, kind in self.feeds.items()}
        self._schemas: dict[int, Mapping[str, Any]] = {}
        self._entries = {feed: self._entry(number, feed) for number, feed in enumerate(self.feeds)}
        self.directory = Directory(feeds=self._entries)
        self._written = 0
        feeds.create(kafka, *self.feeds, partitions=2)

    def _entry(self, number: int, feed: str) -> FeedEntry:
        contract = Contract.parse(CONTRACTS[f"open.{self.feeds[feed]}"].record, feed)
        key, value = 2 * number + 1, 2 * number + 2
        self._schemas[key], self._schemas[value] = key_schema(contract), value_schema(contract)
        return FeedEntry(contract=contract, version=1, key_schema_id=key, value_schema_id=value, partitions=2)

    def write(self, changes: Iterable[RowChange]) -> None:
        """Append what the flow wrote since the last time, as its feeds have it."""
        derived = {feed: DerivedFeed(entry) for feed, entry in self._entries.items()}
        fresh = list(changes)[self._written :]
        self._written += len(fresh)
        with closing(Log(self._kafka, client_id="tests")) as log:
            for change in fresh:
                feed = self._named[change.feed]
                for _, key, value, _, headers in derived[feed].records(change):
                    log.append(feed, key, value, headers=headers)
            log.flush(30)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The address of the API while it follows the feeds."""
        stop, ready, urls = threading.Event(), threading.Event(), list[str]()

        def announce(url: str) -> None:
            urls.append(url)
            ready.set()

        with closing(Store(self._folder / "opendata.sqlite")) as store:
            follow = Follow(
                kafka=self._kafka,
                store=store,
                directory=lambda: self.directory,
                schema_of=self._schemas.__getitem__,
                feeds=self.feeds,
            )
            server = OpenData(Answers(store, lambda: self.directory), lambda: follow.unwell)
            threads = [
                threading.Thread(target=follow.run, args=(stop,)),
                threading.Thread(target=server.run, args=(stop, announce)),
            ]
            for thread in threads:
                thread.start()
            try:
                assert ready.wait(30), "the API does not come up"
                until(lambda: get(f"{urls[0]}/health")[0] == 200, 60, "the API has read the feeds")
                yield urls[0]
            finally:
                stop.set()
                for thread in threads:
                    thread.join(30)
            assert not any(thread.is_alive() for thread in threads)


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def answered(url: str) -> Any:
    status, told = get(url)
    assert status == 200, (url, told)
    return told


@pytest.fixture
def city(kafka: Kafka, unique: str) -> Iterator[BrokerRehearsal]:
    bound = on(kafka, f"{unique}-flow")
    city = bound(FLOW, CONTRACTS)
    fill(city)
    tick(city, 0)
    yield city
    city.close()


@pytest.fixture
def portal(kafka: Kafka, unique: str, tmp_path: Path) -> Portal:
    return Portal(kafka, unique, tmp_path)


def test_k3_a_sample_over_http_is_the_one_that_anybody_draws_from_the_published_rows(
    city: BrokerRehearsal, portal: Portal
) -> None:
    resident(city, 900, "WIDOWED")  # a difference of one person: held back by the flow
    tick(city, 1)
    portal.write(published(city))
    rows = list(city.rows("open.dataset").values())
    with portal.serving() as url:

        def ask(path: str) -> Any:
            return answered(url + path)

        sample = ask("/datasets/population/sample?number=2016-11-A&size=8")
        assert sample["rows"] == draw(rows, "population", "2016-11-A", 8)
        assert sample == ask("/datasets/population/sample?number=2016-11-A&size=8")
        assert sample["rows"] != ask("/datasets/population/sample?number=2016-11-B&size=8")["rows"]
        everybody = ask("/datasets/population/sample?number=all&size=1000")["rows"]
        assert len(everybody) == 30
        assert "WIDOWED" not in str(everybody)
        assert all(person["birth_date"] == "1990" and "name" not in person for person in everybody)
        assert get(f"{url}/datasets/population/sample?number=all&size=1001")[0] == 400


def test_k5_an_edge_over_http_leads_to_the_related_rows_that_are_its_evidence(
    city: BrokerRehearsal, portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    portal.write(published(city))
    with caplog.at_level(logging.INFO), portal.serving() as url:

        def ask(path: str) -> Any:
            return answered(url + path)

        edges = ask("/datasets/enterprise/relations")["relations"]
        edge = next(edge for edge in edges if edge["to"]["dataset"] == "food_licence")
        assert edge["evidence"] == "50 % of enterprise.uscc occur in food_licence.uscc (20 of 40)"
        assert ask(edge["links"]["dataset"])["title"] == edge["to"]["title"]
        occurring = 0
        for firm in ask("/datasets/enterprise/rows?limit=1000")["rows"]:
            related = ask(edge["links"]["rows_of_a_value"].replace("{value}", quote(firm["uscc"])))["rows"]
            assert all(row["uscc"] == firm["uscc"] for row in related)
            occurring += bool(related)
        assert (occurring, edge["matched"]) == (20, 20), "the evidence can be counted again by following it"

        # Rows that are withdrawn while it runs are gone, and so is the edge: five values in common would be told by name.
        for number in range(20, 35):
            city.update("aic.enterprise", {"ent_id": f"E{number}"}, status="DEREGISTERED")
        tick(city, 2)
        portal.write(published(city))
        until(lambda: ask("/datasets/enterprise")["rows"] == 25, 60, "the withdrawal")
        until(lambda: ask("/datasets/enterprise/relations")["relations"] == [], 60, "no edge")
        until(lambda: ask("/datasets/enterprise/rows?uscc=U20")["rows"] == [], 60, "no row")
    assert "U20" not in caplog.text, "no question is logged"


def test_another_start_goes_on_and_a_feed_that_closes_is_shown_no_longer(city: BrokerRehearsal, portal: Portal) -> None:
    portal.write(published(city))
    with portal.serving() as url:
        until(lambda: answered(f"{url}/datasets/enterprise")["rows"] == 40, 60, "what was published before the start")
    city.update("aic.enterprise", {"ent_id": "E0"}, status="DEREGISTERED")
    tick(city, 1)
    portal.write(published(city))
    with portal.serving() as url:
        until(lambda: answered(f"{url}/datasets/enterprise")["rows"] == 39, 60, "what was written meanwhile")
        assert [point["rows"] for point in answered(f"{url}/datasets/enterprise")["trend"]] == [40, 39]
        feed = next(feed for feed, kind in portal.feeds.items() if kind == "dataset")
        record = {**portal.directory.feeds[feed].contract.record}
        record["gov"] = {**record["gov"], "open": "NOT_OPEN"}
        closed = FeedEntry(
            contract=Contract.parse(record, feed), version=2, key_schema_id=1, value_schema_id=2, partitions=2
        )
        portal.directory = Directory(feeds={**portal.directory.feeds, feed: closed})
        until(lambda: get(f"{url}/datasets/enterprise/rows")[1]["rows"] == [], 30, "no rows of a closed feed")


def test_the_process_lists_the_catalogue_and_names_a_taken_port(mesh: RunningMesh) -> None:
    name = f"opendata-{mesh.unique}"
    with mesh.started("run", "opendata", "--name", name) as process:
        assert process.stderr is not None
        said = b""
        while not (found := re.search(rb"open data: (http\S+)", said)):
            line = process.stderr.readline()
            assert line, f"the API ended: {said.decode()}"
            said += line
        url = found[1].decode()
        until(lambda: get(f"{url}/health")[0] == 200, 60, "healthy though nothing is open yet")
        assert get(f"{url}/datasets")[1]["found"] == 200
        assert len(get(f"{url}/catalogue.jsonld")[1]["@graph"]) > 200
        target = json.loads((mesh.directory / "prometheus" / "process" / f"{name}.json").read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{target['port']}/metrics", timeout=10) as page:
            assert b"mesh_build_info" in page.read()
        process.terminate()
        assert process.wait(20) == 0, process.stderr.read()
    assert get(f"{mesh.endpoints['opendata']}/datasets")[1]["found"] == 200, "`mesh up` has one as well"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = mesh.run("run", "opendata", "--port", port, "--name", name)
        assert ran.status == 1
        assert "Traceback" not in ran.err
        assert str(port) in ran.err
        assert "fix: " in ran.err
