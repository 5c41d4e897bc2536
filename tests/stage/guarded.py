"""Every server of the mesh behind its guard, with tokens on the run's broker: as a host has them that sets MESH_AUTH=on."""

from __future__ import annotations

import secrets
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from ops.console.frame.sight import Sight
from ops.console.server import Console
from ops.metrics.exporter import Exporter
from ops.metrics.page import serve
from ops.opendata.answers import Answers
from ops.opendata.server import OpenData
from ops.opendata.store import Store
from ops.settings import Settings
from ops.trust.entry import Doorkeeper
from ops.watch.status_report import FeedStatus, Status, SubscriptionStatus
from schemas.feed import TOKENS
from schemas.guard.caller import Role
from schemas.guard.token import Token, digest_of, new_text
from schemas.log.control.records import publish
from schemas.log.kafka import Kafka
from schemas.log.topics import ensure_control_topics
from schemas.log.writer import Log
from schemas.registry.server import RegistryServer
from streams.flows.opendata import FLOW
from tests.stage.open_city import CONTRACTS, catch_up, directory, fill, tick
from tests.stage.rehearsal import Rehearsal
from tests.stage.until import until

WITHIN_SECONDS = 60
REVOKED_WITHIN_SECONDS = 5


class TokenDesk:
    """Issues tokens as `mesh token issue` does, many at once, and for agencies that are not here."""

    def __init__(self, kafka: Kafka) -> None:
        ensure_control_topics(kafka)
        self._kafka = kafka

    def issue(self, wanted: Mapping[str, tuple[Role, set[str]]], **changes: Any) -> dict[str, str]:
        """The texts, by the names that were wanted."""
        texts: dict[str, str] = {}
        now = datetime.now(UTC)
        with closing(Log(self._kafka, client_id="test-tokens")) as log:
            for name, (role, agencies) in wanted.items():
                token_id, texts[name] = new_text()
                token = Token(
                    **{
                        "id": token_id,
                        "digest": digest_of(texts[name]),
                        "role": role,
                        "agencies": frozenset(agencies),
                        "name": name,
                        "issued_at": now - timedelta(days=2),
                        "issued_by": "test",
                        **changes,
                    }
                )
                publish(log.append, TOKENS, token_id, token.to_json())
            log.flush(30)
        return texts


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Where each of them answers; the live feed is another fixture's."""

    settings: Settings
    urls: Mapping[str, str]


def feed_status(feed: str) -> FeedStatus:
    return FeedStatus(
        feed=feed,
        origin="captured",
        captured=1,
        per_second=0.0,
        rejected=0,
        lag_records=0,
        lag_seconds=0.0,
        capture_lag_seconds=0.0,
        snapshot=None,
        health="ok",
        reason="",
    )


def subscription_status(subscriber: str, feed: str) -> SubscriptionStatus:
    return SubscriptionStatus(
        grant_id=f"{subscriber}.{feed}",
        subscriber=subscriber,
        feed=feed,
        sink="main",
        delivered=1,
        per_second=0.0,
        suppressed=0,
        dead=0,
        lag_records=0,
        lag_seconds=0.0,
        p50_seconds=None,
        p99_seconds=None,
        health="ok",
        reason="",
    )


@contextmanager
def guarded_servers(
    kafka: Kafka, folder: Path, status: Status, environment: Mapping[str, str] | None = None
) -> Iterator[Servers]:
    """Registry, console, open data and metrics, served until the block ends."""
    settings = Settings(directory=folder, kafka=kafka, registry="", hub_database="", is_guarded=True)
    ensure_control_topics(kafka)
    with ExitStack() as stack:
        doorkeeper = stack.enter_context(closing(Doorkeeper(settings, environment or {})))
        stop = threading.Event()
        registry = RegistryServer(kafka, doorkeeper.entrance(), topic=f"_schemas_{secrets.token_hex(4)}")
        console = Console(Sight(lambda: status, settings=settings), 0, doorkeeper.entrance())
        store = stack.enter_context(closing(Store(folder / "opendata.sqlite")))
        city = Rehearsal(FLOW, CONTRACTS)
        fill(city)
        tick(city, 0)
        catch_up(store, city)
        opendata = OpenData(Answers(store, directory()), lambda: "", 0, doorkeeper.entrance())
        urls: dict[str, str] = {}

        def announced(name: str) -> Callable[[str], None]:
            return lambda url: urls.update({name: url})

        runs: dict[str, Callable[[], None]] = {
            "registry": lambda: registry.run(stop),
            "console": lambda: console.run(stop, announced("console")),
            "opendata": lambda: opendata.run(stop, announced("opendata")),
        }
        failed: list[BaseException] = []

        def running(run: Callable[[], None]) -> Callable[[], None]:
            def go() -> None:
                try:
                    run()
                except BaseException as error:  # noqa: BLE001 -- raised below, in the test's own thread
                    failed.append(error)

            return go

        threads = [threading.Thread(target=running(run), name=name) for name, run in runs.items()]
        for thread in threads:
            thread.start()
        stack.callback(lambda: [thread.join(30) for thread in threads])
        stack.callback(stop.set)
        page = stack.enter_context(closing(serve(folder, "guarded", Exporter(), doorkeeper.beside())))
        urls["metrics"] = f"http://127.0.0.1:{page.port}"
        until(lambda: failed or (len(urls) == 3 and registry.ready.is_set()), WITHIN_SECONDS, "all servers answer")
        assert not failed, failed
        urls["registry"] = registry.url
        yield Servers(settings=settings, urls=urls)
    assert not failed, failed


class Asker:
    """Asks as somebody at one of this machine's addresses, over connections that stay."""

    def __init__(self, source: str = "127.0.0.1", verify: ssl.SSLContext | bool = False) -> None:
        transport = httpx.HTTPTransport(local_address=source, verify=verify)
        self._client = httpx.Client(transport=transport, timeout=30, trust_env=False)

    def ask(self, url: str, method: str = "GET", *, token: str = "", **more: Any) -> tuple[int, httpx.Headers]:
        """Status and headers of an answer, of which no more is read."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with self._client.stream(method, url, headers=headers, **more) as answer:
            if answer.headers.get("Content-Type") != "text/event-stream":
                answer.read()
            return answer.status_code, answer.headers

    def close(self) -> None:
        self._client.close()


def ask(
    url: str, method: str = "GET", *, token: str = "", source: str = "127.0.0.1", **more: Any
) -> tuple[int, httpx.Headers]:
    """The same once."""
    with closing(Asker(source, more.pop("verify", False))) as asker:
        return asker.ask(url, method, token=token, **more)
