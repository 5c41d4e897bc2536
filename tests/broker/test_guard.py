"""Every endpoint of every server, with every role and without one: real servers, real tokens on the run's broker."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from ops.console.frame.sight import Sight
from ops.console.server import Console
from ops.opendata.answers import Answers
from ops.opendata.server import OpenData
from ops.settings import SCRAPE_TOKEN, SERVICE_TOKEN, own_token
from ops.trust.entry import Doorkeeper
from ops.trust.tokens import issue_token, list_tokens, revoke_token
from ops.watch.status_report import Status
from schemas.errors import Misconfigured
from schemas.guard.caller import ALL, Role
from schemas.guard.entrance import LOOPBACK_ALONE
from schemas.guard.table import TABLE, Reach
from schemas.guard.token import id_of
from schemas.log.kafka import Kafka
from schemas.registry.address import entered_by
from schemas.registry.client import RegistryClient
from schemas.registry.routes import ROUTES
from tests.stage.delivering import OutFeed
from tests.stage.guarded import (
    REVOKED_WITHIN_SECONDS,
    Asker,
    Servers,
    TokenDesk,
    ask,
    feed_status,
    guarded_servers,
    subscription_status,
)
from tests.stage.live_feed import Subscriber, fill, live
from tests.stage.pushing import push_endpoint
from tests.stage.until import until

OWN, FOREIGN = f"own{secrets.token_hex(2)}", f"foreign{secrets.token_hex(2)}"
SCHEMA = json.dumps({"type": "record", "name": "T", "fields": [{"name": "id", "type": "string"}]})
STATUS = Status(
    at=datetime(2026, 3, 1, tzinfo=UTC),
    feeds=(feed_status(f"{OWN}.t"), feed_status(f"{FOREIGN}.t")),
    subscriptions=(subscription_status(OWN, f"{FOREIGN}.t"), subscription_status(FOREIGN, "other.t")),
    processes=(),
    p50_seconds=None,
    p99_seconds=None,
)
ENDPOINTS = [(server, endpoint) for server, endpoints in TABLE.items() for endpoint in endpoints]
_sources = count(1)


@dataclass(frozen=True)
class Stage:
    """All servers, and the tokens: of each role for the agency that is asked for, for another one, for all."""

    servers: Servers
    urls: dict[str, str]
    good: dict[str, str]
    """By `<role> <agency>`."""
    bad: dict[str, str]


@pytest.fixture(scope="module")
def stage(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    desk = TokenDesk(kafka)
    wanted = {f"{role} {agency}": (role, {agency}) for role in Role for agency in (OWN, FOREIGN, ALL)}
    good = desk.issue(wanted)
    one = {"of an admin": (Role.ADMIN, {ALL})}
    now = datetime.now(UTC)
    bad = {
        "none": "",
        "wrong": f"mesh_{id_of(good[f'admin {ALL}'])}_{secrets.token_urlsafe(32)}",
        "of nobody": f"mesh_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}",
        "revoked": desk.issue(one, revoked_at=now - timedelta(hours=1))["of an admin"],
        "expired": desk.issue(one, expires_at=now - timedelta(seconds=1))["of an admin"],
    }
    feed = OutFeed(OWN, "police.person")
    with ExitStack() as stack:
        servers = stack.enter_context(guarded_servers(kafka, tmp_path_factory.mktemp("guarded"), STATUS))
        doorkeeper = stack.enter_context(closing(Doorkeeper(servers.settings, {})))
        _, subscriber = stack.enter_context(live(kafka, [feed], guard=doorkeeper.guard()))
        fill(kafka, feed, [1, 2])
        at = stack.enter_context(push_endpoint(f"{OWN}.t", tmp_path_factory.mktemp("push"), doorkeeper.guard()))
        with closing(RegistryClient(entered_by(servers.urls["registry"], good[f"admin {ALL}"], ""))) as registry:
            until(lambda: ask(f"{servers.urls['registry']}/", token=good[f"admin {ALL}"])[0] == 200, 30, "tokens")
            for agency in (OWN, FOREIGN):
                schema = {**json.loads(SCHEMA), "name": agency.title()}
                registry.register(f"{agency}.t-value", schema)
        yield Stage(servers, {**servers.urls, "live": subscriber.url, "push": at.url}, good, bad)


def asked(stage: Stage, server: str, endpoint: str, token: str, asker: Asker) -> int:
    """What one endpoint answers of what is OWN's."""
    method, _, path = endpoint.partition(" ")
    values = {"subject": f"{OWN}.t-value", "version": "1", "id": "1", "guid": "g", "code": "x", "kind": "feed"}
    filled = re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], f"{OWN}.t"), path)
    body = {"schema": SCHEMA, "compatibility": "BACKWARD", "mode": "READWRITE", "receipts": []}
    body = {name: body[name] for name in _body_of(path)} if method in {"POST", "PUT"} else None
    more = {"json": body} if body is not None else {}
    return asker.ask(f"{stage.urls[server]}{filled}", method, token=token, **more)[0]


def _body_of(path: str) -> list[str]:
    for start, names in {"/config": ["compatibility"], "/mode": ["mode"], "/v1": ["receipts"]}.items():
        if path.startswith(start):
            return names
    return ["schema"]


@pytest.mark.parametrize(("server", "endpoint"), ENDPOINTS, ids=lambda part: part)
def test_an_endpoint_is_open_to_whom_the_table_names_and_to_nobody_else(
    stage: Stage, server: str, endpoint: str
) -> None:
    allowed = TABLE[server][endpoint]
    reaches = {Reach.OWN: {OWN, ALL}, Reach.CITY: {ALL}}.get(allowed.reach, {OWN, FOREIGN, ALL})
    # Who comes with wrong tokens is soon told nothing: each endpoint is asked from an address of its own.
    with closing(Asker(f"127.0.9.{next(_sources)}")) as asker:
        told = {name: asked(stage, server, endpoint, token, asker) for name, token in stage.bad.items()}
        if allowed.reach is Reach.ANYBODY:
            assert endpoint == "POST /login" or 401 not in told.values()
            return
        assert told == dict.fromkeys(stage.bad, 401)
        for name, token in stage.good.items():
            role, agency = name.split(" ")
            is_open = role in allowed.roles and agency in reaches
            status = asked(stage, server, endpoint, token, asker)
            assert (status == 403) != is_open, f"{name}: {status}"
            assert status not in {401, 429, 500, 503}, f"{name}: {status}"


def test_a_person_at_a_browser_is_told_on_a_page_and_a_program_in_a_line(stage: Stage) -> None:
    console, token = stage.urls["console"], stage.good[f"viewer {OWN}"]
    with httpx.Client(headers={"Accept": "text/html"}, trust_env=False, timeout=30) as browser:
        entered = browser.get(f"{console}/catalogue?q=a")
        assert (entered.status_code, entered.headers["Location"]) == (303, "/login?to=%2Fcatalogue%3Fq%3Da")
        page = browser.get(f"{console}/login?to=//elsewhere.example")
        assert page.status_code == 200
        assert 'name="to" value="/"' in page.text, "nobody is led to another server"
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "HttpOnly" in entered.headers["Set-Cookie"]
        assert "SameSite=Strict" in entered.headers["Set-Cookie"]
        bearer = {"Authorization": f"Bearer {token}"}
        for path, status in (("/nothing", 404), ("/catalogue/nobody.t", 404), ("/onboarding", 403)):
            told = browser.get(f"{console}{path}", headers=bearer)
            assert (told.status_code, told.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
            assert f">{status}<" in told.text
        basic = ("anybody", stage.good[f"admin {ALL}"])
        forged = browser.post(f"{console}/grants/{OWN}.a.t/revoke", data={"proof": "x", "reason": "y"}, auth=basic)
        assert forged.status_code == 403, "a browser repeats Basic by itself: such a form needs its proof"
        assert "页面已过期" in forged.text
    line = httpx.get(f"{console}/onboarding", headers={**bearer, "Accept": "*/*"})
    assert (line.status_code, line.text.startswith("refused: ")) == (403, True)


def test_the_table_has_every_route_of_every_server_and_no_other(tmp_path: Path) -> None:
    def routes(app: web.Application) -> set[str]:
        found = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
        return {f"{method} {path}" for method, path in found if method != "HEAD"}

    console = Console(Sight(lambda: STATUS)).application()
    opendata = OpenData(Answers(None, lambda: None), lambda: "").application()  # pyright: ignore[reportArgumentType]
    assert routes(console) == TABLE["console"].keys()
    assert routes(opendata) == TABLE["opendata"].keys()
    assert {f"{method} {path}" for method, path, _ in ROUTES} == TABLE["registry"].keys()
    with push_endpoint(f"{OWN}.t", tmp_path, None) as at:
        assert routes(at.server.application()) == TABLE["push"].keys()


@pytest.mark.parametrize(
    ("endpoint", "role"),
    [
        ("DELETE /subjects/{subject}", Role.VIEWER),
        ("DELETE /subjects/{subject}", Role.OPERATOR),
        ("POST /subjects/{subject}/versions", Role.SUBSCRIBER),
        ("PUT /config", Role.STEWARD),
        ("PUT /mode/{subject}", Role.STEWARD),
    ],
)
def test_what_a_role_may_never_do_is_not_in_the_table(endpoint: str, role: Role) -> None:
    assert role not in TABLE["registry"][endpoint].roles
    assert TABLE["live"]["GET /v1/stream"].roles == {Role.SUBSCRIBER}, "a subscriber's rows are for nobody else"
    opened = {
        name for endpoints in TABLE.values() for name, allowed in endpoints.items() if Role.PROVIDER in allowed.roles
    }
    assert opened == {"POST /v1/feeds/{feed}/rows"}, "a script's token sends rows, and does nothing else"
    assert Role.SUBSCRIBER not in TABLE["console"]["GET /status"].roles


def test_answers_hold_what_is_of_the_callers_agencies_alone(stage: Stage) -> None:
    def seen(server: str, path: str, token: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {stage.good[token]}"}
        return httpx.get(f"{stage.urls[server]}{path}", headers=headers, trust_env=False)

    admin, ids = stage.good[f"admin {ALL}"], dict[str, int]()
    with closing(RegistryClient(entered_by(stage.urls["registry"], admin, ""))) as registry:
        for agency in (OWN, FOREIGN):
            ids[agency] = registry.register(f"{agency}.cut-value", {**json.loads(SCHEMA), "name": f"{agency}Cut"})
    mine, theirs = f"{OWN}.cut-value", f"{FOREIGN}.cut-value"
    assert {mine, theirs} <= set(seen("registry", "/subjects", f"viewer {ALL}").json())
    listed = seen("registry", "/subjects", f"viewer {OWN}").json()
    assert mine in listed
    assert not [name for name in listed if not name.startswith(f"{OWN}.")]
    schemas = {each["subject"] for each in seen("registry", "/schemas", f"viewer {OWN}").json()}
    assert mine in schemas
    assert theirs not in schemas
    guid = seen("registry", f"/schemas/ids/{ids[FOREIGN]}", f"viewer {ALL}").json()["guid"]
    for path in ("", "/schema", "/subjects", "/versions"):
        assert seen("registry", f"/schemas/ids/{ids[OWN]}{path}", f"viewer {OWN}").status_code == 200, path
        assert seen("registry", f"/schemas/ids/{ids[FOREIGN]}{path}", f"viewer {OWN}").status_code == 404, path
    for path in ("", "/ids"):
        assert seen("registry", f"/schemas/guids/{guid}{path}", f"viewer {FOREIGN}").status_code == 200, path
        assert seen("registry", f"/schemas/guids/{guid}{path}", f"viewer {OWN}").status_code == 404, path
    told = seen("console", "/status", f"viewer {OWN}").json()
    assert [each["feed"] for each in told["feeds"]] == [f"{OWN}.t"]
    assert [each["grant_id"] for each in told["subscriptions"]] == [f"{OWN}.{FOREIGN}.t"]
    assert len(seen("console", "/status", f"viewer {ALL}").json()["feeds"]) == 2
    assert seen("console", f"/health/feed/{FOREIGN}.t", f"viewer {OWN}").status_code == 404
    assert seen("console", f"/health/feed/{OWN}.t", f"viewer {OWN}").status_code == 200


def test_a_schema_that_refers_to_another_agencys_is_registered_by_none_but_who_may_read_that(stage: Stage) -> None:
    theirs, subject, admin = f"{FOREIGN}Base", f"{FOREIGN}.base-value", stage.good[f"admin {ALL}"]
    with closing(RegistryClient(entered_by(stage.urls["registry"], admin, ""))) as registry:
        registry.register(subject, {**json.loads(SCHEMA), "name": theirs})
    body = {
        "schema": json.dumps({"type": "record", "name": "R", "fields": [{"name": "t", "type": theirs}]}),
        "references": [{"name": theirs, "subject": subject, "version": 1}],
    }
    url = f"{stage.urls['registry']}/subjects/{OWN}.r-value/versions"
    for token, status in ((f"steward {OWN}", 404), (f"steward {ALL}", 200)):
        headers = {"Authorization": f"Bearer {stage.good[token]}"}
        assert httpx.post(url, json=body, headers=headers, trust_env=False).status_code == status, token


def test_stock_registry_clients_enter_by_basic_and_by_bearer(stage: Stage) -> None:
    url, steward = stage.urls["registry"], stage.good[f"steward {OWN}"]
    basic = {"url": url, "basic.auth.user.info": f"somebody:{steward}"}
    bearer = {
        "url": url,
        "bearer.auth.credentials.source": "STATIC_TOKEN",
        "bearer.auth.token": steward,
        "bearer.auth.logical.cluster": "mesh",
        "bearer.auth.identity.pool.id": "mesh",
    }
    for number, settings in enumerate((basic, bearer)):
        subject = f"{OWN}.stock{number}-value"
        with SchemaRegistryClient(settings) as client:
            schema_id = client.register_schema(subject, Schema(SCHEMA, "AVRO"))
            assert client.get_latest_version(subject).schema_id == schema_id
            assert subject in client.get_subjects()
            with pytest.raises(SchemaRegistryError, match="agency") as error:
                client.register_schema(f"{FOREIGN}.t-value", Schema(SCHEMA, "AVRO"))
            assert error.value.http_status_code == 403
    with SchemaRegistryClient({"url": url}) as client, pytest.raises(SchemaRegistryError) as error:
        client.get_subjects()
    assert error.value.http_status_code == 401
    with closing(RegistryClient(url)) as nobody, pytest.raises(Misconfigured, match="service-token"):
        nobody.latest("a.b-value")


def test_the_meshs_own_processes_enter_by_tokens_that_need_no_kafka(stage: Stage) -> None:
    own = {name: own_token(stage.servers.settings.directory, name) for name in (SERVICE_TOKEN, SCRAPE_TOKEN)}
    assert ask(f"{stage.urls['metrics']}/metrics", token=own[SCRAPE_TOKEN])[0] == 200
    assert ask(f"{stage.urls['registry']}/config/x", "DELETE", token=own[SCRAPE_TOKEN])[0] == 403
    with closing(RegistryClient(entered_by(stage.urls["registry"], own[SERVICE_TOKEN], ""))) as registry:
        assert registry.latest("base.nothing-value") is None
    folder = stage.servers.settings.directory / "connections"
    assert {(folder / f"mesh.{name}").stat().st_mode & 0o777 for name in own} == {0o600}


def test_a_revoked_token_ends_what_it_began_and_is_taken_by_no_server_within_seconds(
    stage: Stage, kafka: Kafka, unique: str
) -> None:
    settings = stage.servers.settings
    texts = TokenDesk(kafka).issue({"reader": (Role.SUBSCRIBER, {unique}), "viewer": (Role.VIEWER, {ALL})})
    feed = OutFeed(unique, "police.person")
    with (
        closing(Doorkeeper(settings, {})) as doorkeeper,
        live(kafka, [feed], guard=doorkeeper.guard(), visibility_seconds=600) as (_, owner),
        closing(Subscriber(owner.url, token=texts["reader"])) as reader,
        closing(Subscriber(owner.url, token=texts["reader"])) as taker,
        ThreadPoolExecutor(1) as pool,
    ):
        fill(kafka, feed, [1, 2])
        until(lambda: ask(f"{owner.url}/v1/nothing", token=texts["reader"])[0] == 404, 30, "the token is known")
        taken: list[object] = []
        until(lambda: taken.extend(taker.take(wait=10)) or len(taken) == 2, 30, "all is taken")
        with closing(reader.stream()) as stream:
            reader.next(stream, 2)
            waiting = pool.submit(taker.client.get, "/v1/changes", params={"wait": 30})
            for text in texts.values():
                revoke_token(settings, id_of(text))
            began = time.monotonic()
            assert list(stream) == [], "the stream ends, and tells nothing more"
            assert time.monotonic() - began < REVOKED_WITHIN_SECONDS
        assert not waiting.done()
        fill(kafka, feed, [3])
        assert waiting.result(30).status_code == 401, "what came afterwards is not for who waited for it"
        assert owner.take(wait=10), "and is there for who may have it"
    for server, path in {"registry": "/", "console": "/status", "opendata": "/health", "metrics": "/metrics"}.items():
        url = f"{stage.urls[server]}{path}"
        with closing(Asker("127.0.8.1")) as asker:
            until(
                lambda url=url, asker=asker: asker.ask(url, token=texts["viewer"])[0] == 401,
                REVOKED_WITHIN_SECONDS,
                server,
            )
    states = {token["id"]: token["state"] for token in list_tokens(settings).to_json()["tokens"]}
    assert {states[id_of(text)] for text in texts.values()} == {"REVOKED"}


def test_many_requests_are_asked_to_wait_and_who_guesses_tokens_is_told_nothing(
    kafka: Kafka, tmp_path: Path, stage: Stage
) -> None:
    settings = stage.servers.settings
    with closing(Doorkeeper(settings, {"MESH_REQUESTS_PER_SECOND": "1"})) as doorkeeper:
        guard = doorkeeper.guard()
        assert guard is not None
        busy, calm = (f"Bearer {stage.good[f'{role} {ALL}']}" for role in (Role.VIEWER, Role.ADMIN))
        until(lambda: not hasattr(guard.who(calm, "127.0.7.9"), "status"), 30, "tokens are known")
        told = [guard.who(busy, "127.0.7.1") for _ in range(3)]
        assert [getattr(each, "status", None) for each in told] == [None, None, 429]
        assert told[-1].wait_seconds > 0  # pyright: ignore[reportAttributeAccessIssue]
    url = f"{stage.urls['console']}/"
    answers = [ask(url, token=stage.bad["wrong"], source="127.0.7.2") for _ in range(11)]
    assert [status for status, _ in answers] == [401] * 10 + [429]
    assert int(answers[-1][1]["Retry-After"]) >= 1
    assert ask(url, token=stage.good[f"viewer {ALL}"], source="127.0.7.2")[0] == 200, "a right one does not wait"
    asked_how = ask(url, source="127.0.7.2")[1].get_list("WWW-Authenticate")
    assert [how.split(" ")[0] for how in asked_how] == ["Basic", "Bearer"]


def test_a_token_is_issued_for_who_is_here_and_its_text_is_kept_nowhere(stage: Stage, tmp_path: Path) -> None:
    settings = stage.servers.settings
    file = tmp_path / "token"
    issued = issue_token(settings, "operator", (ALL,), "gateway", "1h", file)
    assert file.read_text().strip() == issued.text
    assert file.stat().st_mode & 0o777 == 0o600
    assert issued.text not in f"{issued!r}{issued.to_json()}"
    assert issued.text not in json.dumps(list_tokens(settings).to_json())
    assert issued.token.to_json()["digest"] not in json.dumps(list_tokens(settings).to_json())
    assert issued.text not in repr(issued.token)
    for role, agencies, problem in (
        ("steward", ("nobody_here",), "is not here"),
        ("viewer", (), "no agency"),
        ("subscriber", (ALL,), "what that one is granted"),
    ):
        with pytest.raises(Misconfigured, match=problem):
            issue_token(settings, role, agencies, "", "1h")
    with pytest.raises(Misconfigured, match="expires"):
        issue_token(settings, "viewer", (ALL,), "", "soon")
    with pytest.raises(Misconfigured, match="is not here"):
        revoke_token(settings, "nothing")
    url = f"{stage.urls['console']}/status"
    until(lambda: ask(url, token=issued.text)[0] == 200, 10, "it is taken")
    assert LOOPBACK_ALONE.guard is None
