"""What a department pushes: taken whole or not at all, answered once it is durable, and the same again when it is sent again."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from producers.pushed.address import push_address
from producers.pushed.kind import PUSHED
from producers.pushed.register import PushRegister, TakenBatch
from schemas.errors import Misconfigured
from schemas.guard.caller import Caller, Right, Role
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance, tls_context
from schemas.guard.guard import Guard
from tests.stage.capturing import DATE, DECIMAL, contract
from tests.stage.live_feed import free_port
from tests.stage.secured import Authority
from tests.stage.stating import Stating
from tests.stage.until import until

FEED = "gov.person"
FIELDS = {"id": "string", "name": "string", "born": DATE, "amount": DECIMAL, "visits": "long"}


def row(number: int, name: str = "王芳", **changes: Any) -> dict[str, Any]:
    return {"id": f"{number:04d}", "name": name, "born": "1990-05-17", "amount": 1.5, "visits": number, **changes}


class Pushing:
    """A push source without a broker: its changes are durable when they are confirmed, which a test may hold up."""

    verify: ssl.SSLContext | bool = False

    def __init__(self, folder: Path, entrance: Entrance = LOOPBACK_ALONE, **options: Any) -> None:
        self.url = f"{'https' if entrance.tls else 'http'}://127.0.0.1:{free_port()}"
        self.rig = Stating(PUSHED, self.url, folder, **options)
        self.rig.entrance = entrance
        self.rig.add(contract(FEED, FIELDS, table="push.person"))

    @contextmanager
    def running(self, *, confirms: bool = True, dies_after: int | None = None) -> Iterator[threading.Thread]:
        stop = threading.Event()
        run = threading.Thread(
            target=lambda: self.rig.run(stop.is_set, confirms=confirms, dies_after=dies_after), daemon=True
        )
        run.start()
        until(self.answers, 30, "the endpoint answers")
        try:
            yield run
        finally:
            stop.set()
            run.join(60)
            assert not run.is_alive()

    def answers(self) -> bool:
        try:
            return self.push([], "none").status_code != 404
        except httpx.TransportError:
            return False

    def push(self, rows: Any, key: str, mode: str = "", **headers: str) -> httpx.Response:
        body = rows if isinstance(rows, bytes) else "\n".join(json.dumps(each) for each in rows).encode()
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key, **headers}
        query = {"mode": mode} if mode else {}
        url = f"{self.url}/v1/feeds/{FEED}/rows"
        with httpx.Client(verify=self.verify, timeout=60, trust_env=False) as client:
            return client.post(url, content=body, headers=headers, params=query)

    def ops(self) -> str:
        return "".join(change.op for change in self.rig.changes(FEED))


def counts(answer: httpx.Response) -> Mapping[str, Any]:
    assert answer.status_code == 200, answer.text
    return {name: answer.json()[name] for name in ("rows", "created", "updated", "deleted")}


def test_batches_become_changes_and_the_same_request_again_changes_nothing(tmp_path: Path) -> None:
    pushing = Pushing(tmp_path)
    with pushing.running():
        first = pushing.push([row(1), row(2), row(3)], "a")
        assert counts(first) == {"rows": 3, "created": 3, "updated": 0, "deleted": 0}
        second = pushing.push([row(2, "李四"), row(3, op="u"), {"id": "0001", "op": "d"}, row(4, op="新增")], "b")
        assert counts(second) == {"rows": 4, "created": 1, "updated": 1, "deleted": 1}
        for key, body, was in (("a", [row(1), row(2), row(3)], first), ('"a"', [row(1), row(2), row(3)], first)):
            again = pushing.push(body, key)
            assert (again.status_code, again.content) == (200, was.content)
        other = pushing.push([row(9)], "a")
        assert other.status_code == 422
        assert "another request" in other.json()["why"]
        assert pushing.push([row(1), row(2), row(3)], "a", "full").status_code == 422, "another mode is another request"
        whole = pushing.push([row(2, "李四"), row(4), row(5)], "c", "full")
        assert counts(whole) == {"rows": 3, "created": 1, "updated": 0, "deleted": 1}
    assert pushing.ops() == "rrr" + "d" + "u" + "c" + "cd"
    positions = [change.position for change in pushing.rig.changes(FEED)]
    assert positions == sorted(set(positions))
    assert pushing.rig.fold(FEED).keys() == {"0002", "0004", "0005"}
    assert pushing.rig.place(FEED)["last"]["rows"] == 3
    with pushing.running():
        assert pushing.push([row(1), row(2), row(3)], "a").content == first.content, "the key is known after a restart"
    assert len(pushing.rig.changes(FEED)) == len(positions)
    assert [*(tmp_path / "gov.main" / "incoming").iterdir()] == []


@pytest.mark.parametrize(
    ("line", "column", "why"),
    [
        ({**row(2), "born": "1990-13-45"}, "born", "not_a_date"),
        ({**row(2), "visits": 1.5}, "visits", "not_a_whole_number"),
        ({**row(2), "amount": "1.234"}, "amount", "numeric_scale"),
        ({**row(2), "name": 440106199001011234}, "name", "not_a_text"),
        ({**row(2), "id": None}, "id", "key_is_null"),
        ({**row(2), "op": "x"}, "op", "unknown_op"),
        ({**row(2), "naem": "秘密"}, "naem", "unknown_column"),
        ({**row(2), "440106199001011234": 1}, "", "unknown_column"),
        ({name: value for name, value in row(2).items() if name != "born"}, "born", "column_missing"),
        ({"name": "秘密", "op": "d"}, "id", "column_missing"),
        (b'{"id": "1", "id": "2"}', "id", "column_twice"),
        (b"[1]", "", "not_an_object"),
        (b'{"id": NaN}', "", "not_json"),
        (b'{"id": "\xff"}', "", "not_utf8"),
        (b"{", "", "not_json"),
        (b"[" * 100_000, "", "not_json"),
    ],
)
def test_a_batch_with_a_bad_row_is_refused_whole_by_line_and_column_and_no_value(
    refusing: Pushing, line: Any, column: str, why: str
) -> None:
    text = line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()
    answer = refusing.push(b"\n".join([json.dumps(row(1)).encode(), b"", text]), "k")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"line": 3, "column": column, "why": why}]
    assert answer.json()["taken"] is False
    assert "秘密" not in answer.text
    assert "440106199001011234" not in answer.text
    assert pushing_nothing(refusing)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushing]:
    pushing = Pushing(tmp_path_factory.mktemp("push"), rows_max=10, bytes_max=500_000)
    with pushing.running():
        yield pushing


def pushing_nothing(pushing: Pushing) -> bool:
    return not pushing.rig.records


def test_what_is_no_batch_is_refused_with_what_to_do(refusing: Pushing) -> None:
    def told(answer: httpx.Response) -> tuple[int, str]:
        assert answer.json()["fix"]
        return answer.status_code, answer.json()["why"]

    assert told(refusing.push([], "k")) == (400, "it has no rows")
    assert told(refusing.push([row(1)], ""))[0] == 400
    assert told(refusing.push([row(1)], "a b"))[0] == 400
    assert told(refusing.push([row(1)], "k" * 101))[0] == 400
    assert told(refusing.push([row(1)], "k", "whole"))[0] == 400
    assert told(refusing.push([row(number) for number in range(11)], "k")) == (413, "it has more than 10 rows")
    assert told(refusing.push([row(1, "x" * 600_000)], "k")) == (413, "it is larger than 500,000 bytes")
    assert told(refusing.push([row(1)], "k", **{"Content-Type": "text/plain"}))[0] == 415
    assert told(refusing.push([row(1)], "k", Origin="http://elsewhere.example"))[0] == 403
    assert told(refusing.push([row(1)], "k", Host="elsewhere.example"))[0] == 421
    twice = refusing.push([row(1), row(2), row(1)], "k", "full")
    assert told(twice)[0] == 422
    assert "lines 1 and 3" in twice.json()["why"]
    many = refusing.push([row(number, born="x") for number in range(300)], "k", "full").json()
    assert (len(many["errors"]), many["errors_left_out"]) == (100, 200)
    missing = httpx.post(f"{refusing.url}/v1/feeds/gov.nothing/rows", json={}, trust_env=False)
    assert told(missing) == (404, "gov.nothing takes no rows here")
    assert FEED in missing.json()["fix"]
    assert told(httpx.get(f"{refusing.url}/v1/feeds/{FEED}/rows", trust_env=False))[0] == 405
    assert pushing_nothing(refusing)


def test_a_whole_statement_that_deletes_too_much_waits_for_a_person(tmp_path: Path) -> None:
    pushing = Pushing(tmp_path)
    rows = [row(number) for number in range(100)]
    with pushing.running():
        pushing.push(rows, "a", "full")
        refused = pushing.push(rows[:50], "b", "full")
        assert refused.status_code == 409
        assert "would delete 50 of 100 rows" in refused.json()["why"]
        assert counts(pushing.push([row(7, "李四")], "c")) == {"rows": 1, "created": 0, "updated": 1, "deleted": 0}
    pushing.rig.options["accept"] = [refused.json()["token"]]
    with pushing.running():
        assert counts(pushing.push(rows[:50], "b", "full"))["deleted"] == 50
    assert len(pushing.rig.fold(FEED)) == 50


def test_while_kafka_is_away_batches_are_asked_to_come_again_and_none_is_lost_or_told_twice(tmp_path: Path) -> None:
    pushing = Pushing(tmp_path, answer_seconds=1, waiting_max=2)
    with pushing.running(confirms=False), ThreadPoolExecutor(4) as pool:
        head = pushing.push([row(1)], "head")
        assert head.status_code == 503, "it was taken up, and may be taken"
        assert int(head.headers["Retry-After"]) >= 1
        late = pushing.push([row(2)], "late")
        assert late.status_code == 429, "nothing of it was taken up"
        assert "Kafka" in late.json()["why"]
        waiting = [pool.submit(pushing.push, [row(1)], "head") for _ in range(4)]
        assert sorted(each.result().status_code for each in waiting) == [429, 429, 503, 503]
    with pushing.running():
        assert counts(pushing.push([row(1)], "head")) == {"rows": 1, "created": 1, "updated": 0, "deleted": 0}
        assert counts(pushing.push([row(2)], "late"))["created"] == 1
    told = {change.position: change.key["id"] for change in pushing.rig.changes(FEED)}
    assert [*told.values()] == ["0001", "0002"]


def test_killed_at_any_record_the_same_request_gives_one_answer_and_one_change_each(tmp_path: Path) -> None:
    bodies = {key: [row(number, key) for number in range(3)] for key in ("a", "b")}
    whole = {"rows": 3, "deleted": 0}
    for dies_after in range(1, 7):
        pushing = Pushing(tmp_path / str(dies_after), answer_seconds=20)
        with ThreadPoolExecutor(1) as pool, pushing.running(dies_after=dies_after) as run:
            asked = pool.submit(sent, pushing, bodies)
            until(lambda run=run: not run.is_alive(), 30, "it died")
            asked.result(30)
        with pushing.running():
            for key, body in bodies.items():
                answer = pushing.push(body, key)
                assert counts(answer) == {
                    **whole,
                    **({"created": 3, "updated": 0} if key == "a" else {"created": 0, "updated": 3}),
                }
        changes = {change.position: (change.op, change.after) for change in pushing.rig.changes(FEED)}
        assert all(changes[each.position] == (each.op, each.after) for each in pushing.rig.changes(FEED))
        assert [op for op, _ in changes.values()] == ["r"] * 3 + ["u"] * 3


def sent(pushing: Pushing, bodies: Mapping[str, Any]) -> None:
    for key, body in bodies.items():
        try:
            if pushing.push(body, key).status_code != 200:
                return
        except httpx.TransportError:
            return


def test_a_disk_that_was_lost_empties_nothing_before_the_whole_table_is_sent(tmp_path: Path) -> None:
    pushing = Pushing(tmp_path / "one")
    with pushing.running():
        pushing.push([row(1), row(2)], "a")
    pushing.rig.state = tmp_path / "two"
    with pushing.running():
        refused = pushing.push([row(3)], "b")
        assert refused.status_code == 409
        assert "?mode=full" in refused.json()["fix"]
        assert pushing.rig.incident(FEED).state == "stopped"  # pyright: ignore[reportOptionalMemberAccess]
        assert len(pushing.rig.fold(FEED)) == 2, "subscribers keep what they have"
        pushing.push([row(2), row(3)], "c", "full")
        assert pushing.rig.incident(FEED) is None
        assert counts(pushing.push([row(4)], "b"))["created"] == 1
    assert pushing.rig.fold(FEED).keys() == {"0002", "0003", "0004"}


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("http://0.0.0.0:8480", "in clear"),
        ("http://127.0.0.1", "no address"),
        ("http://localhost:8480", "no address"),
        ("http://127.0.0.1:8480/x", "no address"),
        ("postgresql://u:p@127.0.0.1/x", "no address"),
        ("https://127.0.0.1:99999", "no address"),
    ],
)
def test_an_address_that_is_none_or_open_to_others_is_refused(address: str, problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem):
        push_address(address, "connection")


def test_others_are_let_in_by_tls_and_a_guard_alone() -> None:
    at = push_address("https://0.0.0.0:8480", "connection")
    with pytest.raises(Misconfigured, match="no certificate"):
        at.entrance(Entrance(), "connection")


def test_a_key_is_forgotten_after_its_time(tmp_path: Path) -> None:
    clock = [1_000.0]
    register = PushRegister(tmp_path / "r.sqlite", 3600, lambda: clock[0])
    register.enter("a.b", "k", TakenBatch("s", {"n": 1}))
    register.enter("a.b", "k", TakenBatch("t", {"n": 2}))
    assert register.find("a.b", "k") == TakenBatch("s", {"n": 1})
    register.close()
    clock[0] += 3601
    again = PushRegister(tmp_path / "r.sqlite", 3600, lambda: clock[0])
    assert again.find("a.b", "k") is None
    again.close()


def test_a_json_schema_becomes_a_contract(tmp_path: Path) -> None:
    (tmp_path / "resident.schema.json").write_text(
        json.dumps(
            {
                "title": "居民",
                "properties": {
                    "resident_id": {"type": "string", "title": "居民编号"},
                    "born": {"type": ["string", "null"], "format": "date"},
                    "seen": {"type": "string", "format": "date-time"},
                    "fee": {"type": "number", "multipleOf": 0.01},
                    "weight": {"type": "number"},
                    "count": {"type": "integer"},
                    "is_here": {"type": "boolean"},
                    "homes": {"type": "array"},
                },
                "required": ["resident_id"],
            }
        ),
        "utf-8",
    )
    assert PUSHED.drafting is not None
    path = str(tmp_path / "resident.schema.json")
    assert PUSHED.drafting.takes(path)
    drafted = PUSHED.drafting.draft(path, (), "police", {}, is_lossless=False)
    [table] = drafted.tables
    assert (table.stem, table.doc, table.key) == ("resident", "居民", ["resident_id"])
    types = {entry["name"]: entry["type"] for entry in table.fields}
    moment = {"type": "long", "logicalType": "timestamp-micros"}
    fee = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}
    assert types == {
        "resident_id": "string",
        "born": ["null", DATE],
        "seen": ["null", moment],
        "fee": ["null", fee],
        "weight": ["null", "double"],
        "count": ["null", "long"],
        "is_here": ["null", "boolean"],
    }
    assert [each.column for each in drafted.left_out] == ["homes"]
    assert "found by its name" in drafted.findings[0].message
    with pytest.raises(Misconfigured, match="no file"):
        PUSHED.drafting.draft("push:nothing.jsonl", (), "police", {}, is_lossless=False)


def test_a_sample_becomes_a_contract_that_takes_it(tmp_path: Path) -> None:
    row = {"name": "王芳", "amount": 1.25, "born": "1990-05-17", "tel": "02012345678", "code": 20012345678, "ok": True}
    body = "\n".join(json.dumps({"id": number, **row, "tags": [1]}) for number in range(20))
    (tmp_path / "person_1.jsonl").write_text(body)
    assert PUSHED.drafting is not None
    drafted = PUSHED.drafting.draft(f"push:{tmp_path / 'person_1.jsonl'}", (), "gov", {}, is_lossless=False)
    assert [each.column for each in drafted.left_out] == ["tags"]
    pushing = Pushing(tmp_path / "state")
    pushing.rig.feeds = {}
    pushing.rig.add(drafted.tables[0].contract("gov"))
    with pushing.running():
        assert counts(pushing.push([{"id": number, **row} for number in range(20)], "a"))["created"] == 20


class Known:
    """Whoever has a token: its text is `<role> <agency>`. `revoked`: those that are not good any more."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    def caller(self, credential: str) -> Caller | None:
        role, _, agency = credential.partition(" ")
        right = Right(role=Role(role), agencies=frozenset({agency})) if role in set(Role) else None
        return Caller(name=credential, rights=(right,)) if right and credential not in self.revoked else None

    def is_own(self, credential: str) -> bool:
        return credential == ""

    def is_good(self, caller: Caller) -> bool:
        return caller.name not in self.revoked


def test_by_tls_a_provider_of_the_agency_sends_rows_until_its_token_is_revoked(tmp_path: Path) -> None:
    authority, known = Authority(tmp_path / "tls"), Known()
    certificate, key = (file.read_text() for file in authority.certificate("mesh"))
    entrance = Entrance(guard=Guard(known), tls=tls_context(certificate, key, "test"))
    pushing = Pushing(tmp_path / "state", entrance)
    pushing.verify = ssl.create_default_context(cafile=str(authority.file))

    def told(token: str, number: int = 1) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return pushing.push([row(number)], f"{number}", **headers).status_code

    with pushing.running():
        until(lambda: told("provider gov") == 200, 30, "a provider's rows are taken")
        assert told("") == 401
        assert told("provider other") == 403
        for role in set(Role) - {Role.PROVIDER}:
            assert told(f"{role} gov") == 403, role
        known.revoked.add("provider gov")
        assert told("provider gov", 2) == 401
    assert pushing.rig.fold(FEED).keys() == {"0001"}
