"""Who a request is, how many of them are answered, and where a server may listen: without a server."""

from __future__ import annotations

import base64
import re
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.errors import Misconfigured, Transient
from schemas.guard.caller import ALL, EVERYBODY, Caller, Right, Role, agency_of
from schemas.guard.door import Shut, judge
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance, tls_context
from schemas.guard.guard import ADDRESS_PER_SECOND, Guard, credential_of
from schemas.guard.table import TABLE, is_anybody_s, may
from schemas.guard.token import Token, digest_of, id_of, new_text, opens
from schemas.registry.address import RegistryAddress, entered_by

ROOT = Path(__file__).parents[3]
PRODUCT = ("schemas", "producers", "streams", "sinks", "ops")
LISTENERS = {
    "schemas/registry/server.py": "registry",
    "ops/web/web.py": "console and open data",
    "ops/metrics/page.py": "metrics",
    "sinks/live/server.py": "live feeds",
    "producers/pushed/server.py": "push sources",
    "ops/city/receiver.py": "a subscriber of the example city, on the loopback alone",
    "ops/bench/peers/debezium_jdbc.py": "what a peer of the benchmark asks, on the loopback alone",
}
LISTENS = re.compile(
    r"TCPSite|SockSite|(?<!_)make_server\(|HTTPServer\(|create_server\(|asyncio\.start_server|\.listen\("
)
SOMEBODY = Caller(name="somebody", rights=(Right(role=Role.VIEWER, agencies=frozenset({"aic"})),))


class OneCaller:
    """Knows one token."""

    def __init__(self, *, is_away: bool = False) -> None:
        self._is_away = is_away

    def caller(self, credential: str) -> Caller | None:
        if self._is_away:
            raise Transient("nobody can tell", retry_after_seconds=3.0)
        return {"right": SOMEBODY, "own": EVERYBODY}.get(credential)

    def is_own(self, credential: str) -> bool:
        return credential == "own"

    def is_good(self, _caller: Caller) -> bool:
        return not self._is_away


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("header", "credential"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        (basic("user:abc"), "abc"),
        (basic(":a:b"), "a:b"),
        (basic("abc"), ""),
        ("Basic abc", ""),
        ("Basic ÿ", ""),
        ("Digest abc", ""),
        ("Bearer", ""),
        ("", ""),
        (f"Bearer {'x' * 8_193}", ""),
    ],
)
def test_a_token_is_read_from_either_scheme(header: str, credential: str) -> None:
    assert credential_of(header) == credential


@pytest.mark.parametrize(
    ("subject", "agency"),
    [
        ("police.resident-value", "police"),
        ("dlq.police.resident-key", "police"),
        ("out.customs.aic.enterprise-2-value", "customs"),
        ("dlq.out.customs.aic.enterprise-value", "customs"),
        (":.other:police.resident-value", "police"),
        ("mesh.identity-value", "mesh"),
        ("police", ""),
        (".resident", ""),
        ("", ""),
    ],
)
def test_a_subject_is_of_the_agency_in_its_name(subject: str, agency: str) -> None:
    assert agency_of(subject) == agency


def test_what_is_of_no_agency_is_of_those_who_have_all() -> None:
    some = SOMEBODY.remit({Role.VIEWER})
    every = EVERYBODY.remit({Role.STEWARD})
    assert some is not None
    assert every is not None
    assert [some.holds(name) for name in ("aic", "police", "", ALL)] == [True, False, False, False]
    assert every.holds("")
    assert SOMEBODY.remit({Role.ADMIN}) is None
    refused = may("console", "GET /something-new", EVERYBODY, "")
    assert isinstance(refused, Shut), "what no table names is open to nobody"
    assert refused.status == 403
    assert all(allowed.roles for endpoints in TABLE.values() for allowed in endpoints.values())


def test_a_flood_is_asked_to_wait_and_an_identity_that_cannot_be_told_is_no_refusal() -> None:
    now = [0.0]
    guard = Guard(OneCaller(), per_second=2, clock=lambda: now[0])
    assert [guard.who("Bearer right", "a") for _ in range(4)] == [SOMEBODY] * 4
    busy = guard.who("Bearer right", "b")
    assert isinstance(busy, Shut)
    assert (busy.status, busy.wait_seconds) == (429, pytest.approx(0.5))
    now[0] += 0.5
    assert guard.who("Bearer right", "b") is SOMEBODY
    told = [guard.who("", "c") for _ in range(int(2 * ADDRESS_PER_SECOND) + 1)]
    assert {each.status for each in told if isinstance(each, Shut)} == {401, 429}
    assert isinstance(told[-1], Shut)
    assert told[-1].status == 429
    assert guard.who("Bearer own", "c") is EVERYBODY, "the mesh's own processes wait for nobody"
    away = Guard(OneCaller(is_away=True)).who("Bearer right", "a")
    assert isinstance(away, Shut)
    assert (away.status, away.wait_seconds) == (503, 3.0)


def test_who_was_let_in_comes_back_until_that_is_over_and_counts_as_before() -> None:
    now = [0.0]
    guard = Guard(OneCaller(), per_second=2, clock=lambda: now[0])
    assert [guard.again(SOMEBODY, "a") for _ in range(4)] == [SOMEBODY] * 4
    busy = guard.again(SOMEBODY, "a")
    assert isinstance(busy, Shut)
    assert busy.status == 429
    now[0] += 10
    gone = guard.again(replace(SOMEBODY, until=1.0), "a")
    assert isinstance(gone, Shut)
    assert gone.status == 401
    told = [guard.anybody("b") for _ in range(int(2 * ADDRESS_PER_SECOND) + 1)]
    assert told[0] is None
    assert told[-1] is not None
    assert told[-1].status == 429


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_form_is_taken_where_there_are_pages_and_from_those_alone(kind: str) -> None:
    headers = {"Host": "127.0.0.1:80", "Content-Type": kind}
    assert judge("POST", headers, takes_forms=True) is None
    for shut in (judge("POST", headers), judge("POST", {**headers, "Origin": "https://x"}, takes_forms=True)):
        assert shut is not None
    text = judge("POST", {**headers, "Content-Type": "text/plain"}, takes_forms=True)
    assert text is not None
    assert text.status == 415


def test_what_is_open_to_anybody_is_where_one_enters_and_what_is_published_and_nothing_else() -> None:
    found = {
        (server, endpoint) for server, table in TABLE.items() for endpoint in table if is_anybody_s(server, endpoint)
    }
    published = {(server, endpoint) for server, endpoint in found if server == "opendata"}
    assert {endpoint.partition(" ")[0] for _, endpoint in published} == {"GET"}, "the public changes nothing"
    assert {endpoint for endpoint in TABLE["opendata"] if ("opendata", endpoint) not in published} == {"GET /health"}
    assert found - published == {
        ("console", endpoint)
        for endpoint in ("GET /login", "POST /login", "POST /logout", "POST /preferences", "GET /static/{name}")
    }


def test_a_token_is_kept_as_a_digest_and_ends_by_the_clock_or_by_a_person() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    token_id, text = new_text()
    token = Token(
        id=token_id,
        digest=digest_of(text),
        role=Role.STEWARD,
        agencies=frozenset({"aic", "police"}),
        name="a person",
        issued_at=now,
        issued_by="admin",
        expires_at=now + timedelta(days=1),
    )
    assert Token.from_json(token.to_json()) == token
    assert id_of(text) == token_id
    assert opens(text, token.digest)
    assert not opens(f"{text[:-1]}!", token.digest)
    assert not opens(text, None)
    assert text.rpartition("_")[2] not in f"{token!r}{token.to_json()}"
    assert token.digest.hex() not in f"{token!r}{token.shown()}"
    assert token.state(now) == "ACTIVE"
    assert token.state(now + timedelta(days=1)) == "EXPIRED"
    for broken in ({"digest": "00"}, {"role": "root"}, {"agencies": None}, {"expires_at": "soon"}):
        with pytest.raises((ValueError, TypeError)):
            Token.from_json({**token.to_json(), **broken})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1"])
def test_what_others_reach_starts_with_a_guard_and_with_tls_only(host: str) -> None:
    guard, tls = Guard(OneCaller()), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for entrance, fix in (
        (Entrance(host=host), "MESH_AUTH=on"),
        (Entrance(host=host, tls=tls), "MESH_AUTH=on"),
        (Entrance(host=host, guard=guard), "MESH_TLS_CERTIFICATE"),
    ):
        with pytest.raises(Misconfigured, match=fix):
            entrance.check("registry")
    Entrance(host=host, guard=guard, tls=tls).check("registry")
    LOOPBACK_ALONE.check("registry")
    Entrance(host="::1").check("registry")
    with pytest.raises(Misconfigured, match="numeric"):
        Entrance(host="localhost").check("registry")
    with pytest.raises(Misconfigured, match="does not go with its key"):
        tls_context("no", "key", "MESH_TLS_CERTIFICATE")


def test_an_address_is_what_its_certificate_says() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert LOOPBACK_ALONE.url(80) == "http://127.0.0.1:80"
    assert Entrance(host="0.0.0.0", tls=tls).url(80) == "https://127.0.0.1:80"
    assert Entrance(host="0.0.0.0", tls=tls, name="mesh.example").url(80) == "https://mesh.example:80"
    assert Entrance(host="::1").url(80) == "http://[::1]:80"


def test_a_registrys_address_gives_its_login_to_nobody_else() -> None:
    entered = entered_by("https://registry.example:8081/", "mesh_1_a", "/etc/ca.pem")
    address = RegistryAddress.parse(entered)
    assert (address.url, address.login, address.ca) == (
        "https://registry.example:8081",
        ("mesh", "mesh_1_a"),
        "/etc/ca.pem",
    )
    assert "mesh_1_a" not in repr(address)
    assert entered_by("https://me:mine@registry.example", "theirs", "") == "https://me:mine@registry.example"
    assert RegistryAddress.parse("http://127.0.0.1:1").login is None
    for wrong in ("registry.example", "ftp://registry.example", "https://registry.example?x=1", "https://a:b@h:port"):
        with pytest.raises(Misconfigured) as error:
            RegistryAddress.parse(wrong)
        assert "a:b" not in str(error.value)
    with pytest.raises(Misconfigured, match="in clear") as error:
        RegistryAddress.parse("http://me:secret@registry.example")
    assert "secret" not in str(error.value)


def test_nothing_listens_but_what_is_guarded_or_is_of_this_machine_alone() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for package in PRODUCT
        for path in (ROOT / package).rglob("*.py")
        if LISTENS.search(path.read_text("utf-8"))
    }
    assert found == set(LISTENERS), "a server stands behind the guard (schemas/guard), and in the table"
