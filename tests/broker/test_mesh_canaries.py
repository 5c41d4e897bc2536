"""No value of a row leaves the rows' own topics and the subscribers' systems: canaries in everything the mesh writes (F-13).

Rows that go well and rows that meet every kind of trouble carry one word in each of their values. It must stand in no log of any
process, on no page, in no header, on no control topic and in no line of a command.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from confluent_kafka import Message, Producer

from ops.cli import main
from ops.prometheus.configuration import targets
from schemas.trace import described
from tests.stage.feeds import read_all
from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until
from tests.stage.webhooks import SECRET

WITHIN_SECONDS = 60
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
DATE = {"type": "int", "logicalType": "date"}
FIELDS = {"id": "string", "name": "string", "address": "string", "amount": DECIMAL, "born": DATE, "kind": "string"}
INSERT = "INSERT INTO t VALUES (%s, %s, %s, %s, %s, %s)"
HOLD_ROWS = {"mesh.flows", "mesh.flow_state"}
"""Topics of the mesh's own whose records are rows: what flows tell their subjects, and what they remember of them."""
REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.kind = 'raised' THEN
        RAISE EXCEPTION 'no %', NEW.name USING DETAIL = NEW.address, HINT = NEW.id, TABLE = NEW.name, COLUMN = NEW.address,
            CONSTRAINT = NEW.id, SCHEMA = NEW.name, ERRCODE = '23514';
    ELSIF NEW.kind = 'cast' THEN
        PERFORM NEW.name::int;
    END IF;
    RETURN NEW;
END $$;
"""


@contextmanager
def echoing() -> Iterator[str]:
    """A receiver that refuses every change of a kind and quotes the whole request in its answer, headers too."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told = json.loads(body)
            row = told.get("after") or told.get("before") or {}
            status = {"refused": 400, "raised": 422, "cast": 413}.get(str(row.get("kind")), 200)
            self.send_response(status, f"no {row.get('id')}")
            self.send_header("X-Echo", str(row.get("id")))
            self.send_header("Retry-After", str(row.get("id")))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Canary:
    """A word and what it looks like in the ways in which bytes are written down."""

    def __init__(self) -> None:
        self.word = f"zq{secrets.token_hex(6)}"
        self.digits = str(secrets.randbelow(10**9) + 10**9)[1:]
        raw = self.word.encode()
        inner = [base64.b64encode(b"." * shift + raw)[4 : -4 if shift else None].decode() for shift in range(3)]
        self.signs = [self.word, raw.hex(), raw.hex().upper(), self.digits, *(part.rstrip("=") for part in inner)]

    def row(self, number: int, kind: str = "well", amount: str | None = None, born: str = "1980-01-31") -> list[Any]:
        money = amount or f"{self.digits}.{number % 100:02}"
        return [f"{self.word}-id-{number}", f"张三{self.word}", f"天河路 {number} 号 {self.word}", money, born, kind]

    def found(self, text: str) -> str:
        """The surroundings of the first sign of it in a text; empty if there is none."""
        for sign in self.signs:
            if (at := text.find(sign)) >= 0:
                return text[max(0, at - 200) : at + 100]
        return ""


def ask(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def headers(message: Message) -> list[tuple[str, str]]:
    told = message.headers() or ()
    return [
        (name, value.decode("utf-8", "replace") if isinstance(value, bytes) else value or "") for name, value in told
    ]


def headers_of(mesh: RunningMesh, topic: str) -> str:
    return "\n".join(f"{name}: {text}" for message in mesh.records(topic) for name, text in headers(message))


def written(mesh: RunningMesh, feed: str, grants: list[str]) -> Iterator[tuple[str, str]]:
    """Everything that the mesh writes beside the rows themselves: where, and the text."""
    for path in sorted([*(mesh.directory / "log").glob("*"), *(mesh.directory / "run").glob("*")]):
        if path.is_file():
            yield str(path.name), path.read_text("utf-8", "replace")
    for target in targets(mesh.directory):
        for page in ("/metrics", "/recent"):
            yield f"{target.process}{page}", ask(f"http://127.0.0.1:{target.port}{page}")
    console = mesh.endpoints["console"]
    for page in ("/", "/status", "/health", f"/health/feed/{feed}", *(f"/health/grant/{name}" for name in grants)):
        yield f"console {page}", ask(f"{console}{page}")
    topics = mesh.topics()
    yield "names of topics", "\n".join(topics)
    control = [name for name in topics if name.startswith(("mesh.", "_schemas")) and name not in HOLD_ROWS]
    assert len(control) > 8
    for name, messages in read_all(mesh.kafka, control).items():
        parts = [part or b"" for message in messages for part in (message.key(), message.value())]
        parts += [text.encode() for message in messages for _, text in headers(message)]
        yield f"topic {name}", b"\n".join(parts).decode("utf-8", "replace")
    for name in topics:
        if name.endswith(feed) and mesh.unique in name:
            yield f"headers of {name}", headers_of(mesh, name)


def said_by_commands(mesh: RunningMesh, feed: str, grants: list[str]) -> Iterator[tuple[str, str]]:
    """What commands print, for people and for scripts, without the option that shows values."""

    def line(*words: str) -> tuple[str, str]:
        place = 2 if words[0] == "dlq" else 1
        arguments = [*words[:place], "--dir", str(mesh.directory), *words[place:]]
        ran = CliRunner().invoke(main, arguments)
        assert isinstance(ran.exception, SystemExit | None), f"mesh {' '.join(words)}: {described(ran.exception)}"
        return " ".join(words), ran.output

    yield line("status", "--json")
    yield line("status")
    yield line("verify", feed, "--within", "0")
    yield line("verify", "--json", grants[0], "--within", "0")
    yield line("replay", "--dry-run", grants[0])
    for owner in (feed, *grants):
        name, text = line("dlq", "list", "--json", owner)
        yield name, text
        letters = json.loads(text)
        if letters:
            topic = f"dlq.{owner}" if owner == feed else f"dlq.out.{owner}"
            yield line("dlq", "list", owner)
            yield line("tail", topic, "--from-start", "--count", str(len(letters)))
            yield line("dlq", "retry", "--dry-run", owner, "--all")
        for letter in {letter["reason"]: letter["letter"] for letter in letters}.values():
            yield line("dlq", "show", letter)
            yield line("dlq", "show", "--json", letter)


def reasons(mesh: RunningMesh, owner: str) -> set[str]:
    letters = mesh.records(f"dlq.{owner}")
    return {text for message in letters for name, text in headers(message) if name == "mesh.errors.reason"}


@dataclass(frozen=True)
class Scene:
    """A feed and four subscribers of it: a table, a drop, a webhook, and a table with a pseudonym for its key."""

    mesh: RunningMesh
    canary: Canary
    agency: str
    source: str
    target: str
    place: Path

    @property
    def feed(self) -> str:
        return f"{self.agency}.t"

    @property
    def grants(self) -> list[str]:
        return [f"{self.mesh.unique}{letter}.{self.feed}" for letter in "tdhp"]

    def letters(self, number: int | None, *wanted: str) -> None:
        """Wait for dead letters of these reasons, of the feed or of a grant."""
        owner = self.feed if number is None else f"out.{self.grants[number]}"
        until(lambda: set(wanted) <= reasons(self.mesh, owner), WITHIN_SECONDS, f"{wanted} of {owner}")


def scene(mesh: RunningMesh, url: str, place: Path) -> Scene:
    """Forty rows that went well, at all four."""
    agency = f"{mesh.unique}a"
    table, drop, hook, pseudonyms = (f"{mesh.unique}{letter}" for letter in "tdhp")
    set_up = Scene(mesh, Canary(), agency, mesh.database(agency), mesh.database(table), place)
    at_pseudonyms = mesh.database(pseudonyms)
    rules = [{"name": "known", "expr": "kind != 'unknown'", "onFailure": "DLQ"}]
    mesh.agency(agency, {"t": contract(["id"], FIELDS, tags=["L2", "PII"], rules=rules)})
    columns = [name for name in FIELDS if name != "id"]
    grant = {"feed": set_up.feed, "columns": columns, "purpose": "核验", "legal_basis": "示例依据"}
    mesh.subscriber(table, grant)
    mesh.subscriber(pseudonyms, {**grant, "mask": {"id": "HASH"}})
    options = {"every_seconds": 0.5, "format": "parquet"}
    files = {"name": "main", "kind": "files", "connection": "${MESH_DROP}", "options": options}
    webhook = {"name": "main", "kind": "webhook", "connection": "${MESH_HOOK}", "signing_key": "${MESH_KEY}"}
    for subscriber, sink in ((drop, files), (hook, webhook)):
        (mesh.folder / subscriber).mkdir()
        text = json.dumps({"subscriber": subscriber, "name": "测试", "sinks": [sink], "grants": [grant]})
        (mesh.folder / subscriber / "subscriber.yaml").write_text(text)
    with database(set_up.source) as town:
        town.execute(
            "CREATE TABLE t (id text PRIMARY KEY, name text, address text, amount numeric(12,2), born date, kind text)"
        )
        town.execute("ALTER TABLE t REPLICA IDENTITY FULL")
        town.cursor().executemany(INSERT, [set_up.canary.row(number) for number in range(40)])
    ran = mesh.run("onboard", mesh.folder, MESH_DROP=str(place), MESH_HOOK=url, MESH_KEY=SECRET)
    assert ran.status == 0, ran.err
    for there in (set_up.target, at_pseudonyms):
        until(lambda there=there: len(rows(there, f"{agency}_t")) == 40, WITHIN_SECONDS, "the first rows")
    until(lambda: list(place.glob("*/*.done.json")), WITHIN_SECONDS, "the first drop")
    return set_up


def trouble(scene: Scene) -> None:
    """Rows that a rule, a type, a target or a receiver refuses, and records that nobody can read."""
    mesh, canary = scene.mesh, scene.canary
    good, going_out = (
        next(message for message in mesh.records(topic) if message.value())
        for topic in (scene.feed, f"out.{scene.grants[0]}")
    )
    with database(scene.target) as there:
        there.execute(REFUSING)
        for statement in (
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION refuse()",
            "ALTER TABLE {} ADD CONSTRAINT known CHECK (kind <> 'refused')",
        ):
            there.execute(statement.format(f"{scene.agency}_t").encode())
    troubled = [
        *(canary.row(100 + number, "unknown") for number in range(5)),
        canary.row(200, "refused"),
        canary.row(201, "raised"),
        canary.row(202, "cast"),
        canary.row(204, amount="NaN"),
        canary.row(205, born="infinity"),
    ]
    with database(scene.source) as town:
        town.execute("UPDATE t SET name = name || ' 李四' WHERE id LIKE '%%-3%%'")
        town.cursor().executemany(INSERT, troubled)
    producer = Producer(mesh.kafka.client({}))
    for topic, record in ((scene.feed, good), *((f"out.{scene.grants[number]}", going_out) for number in (0, 2))):
        value = record.value() or b""
        for broken in (value[:-30], b"\x01" + value[1:], b"\0\x7f\xff\xff\xff" + value[5:], value + b"more"):
            producer.produce(topic, broken, record.key())
        producer.produce(topic, value, (record.key() or b"")[:-5])
    assert producer.flush(30) == 0


def test_no_value_of_a_row_stands_in_anything_else_that_the_mesh_writes(mesh: RunningMesh, tmp_path: Path) -> None:
    place = tmp_path / "drop"
    place.mkdir()
    with echoing() as url:
        set_up = scene(mesh, url, place)
        key = mesh.directory / "connections" / f"{mesh.unique}p.hash-key"
        aside = key.rename(tmp_path / "aside")
        moved = place.rename(tmp_path / "elsewhere")  # the drop's directory is gone for a while
        try:
            trouble(set_up)
            set_up.letters(None, "rule_known", "bad_magic")
            set_up.letters(0, "sql_23514", "sql_22P02", "bad_magic")
            set_up.letters(2, "http_400", "http_422")
            moved.rename(place)
            set_up.letters(1, "not_decodable")
            told = [*written(mesh, set_up.feed, set_up.grants), *said_by_commands(mesh, set_up.feed, set_up.grants)]
        finally:
            aside.rename(key)
    found = {where: around for where, text in told if (around := set_up.canary.found(text))}
    assert not found, "\n\n".join(f"== {where}\n{around}" for where, around in found.items())
