"""The audit as a chain on a real broker: writers that come at once or are killed leave one, and whatever is done to it is found."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import KafkaException, Producer

from ops.audit import audited_log
from ops.audit.audited_log import AuditedLog
from ops.audit.chain import canonical, digest, linked
from ops.audit.trail import End, end_of_trail
from ops.trust.audit import audit
from schemas.feed import AUDIT, LETTERS
from schemas.log.control.follower import read_directory
from schemas.log.control.records import read_all
from schemas.log.kafka import Kafka
from schemas.log.transaction import configuration
from schemas.log.writer import Log
from tests.stage import audit_child
from tests.stage.live_feed import TOKEN, Subscriber, free_port
from tests.stage.running_mesh import Ran, RunningMesh, contract, database, run
from tests.stage.until import until


def audited(mesh: RunningMesh, verb: str, *arguments: object) -> Ran:
    return run("audit", verb, "--dir", mesh.directory, "--json", *arguments)


def intact(mesh: RunningMesh) -> Any:
    ran = audited(mesh, "verify")
    assert (ran.status, ran.json["intact"], ran.json["waiting"]) == (0, True, 0), ran.out
    return ran.json


def lines(mesh: RunningMesh, subject: str, what: str = "*") -> list[dict[str, Any]]:
    ran = audited(mesh, "list", "--subject", subject, "--what", what)
    assert ran.status == 0, ran.err
    return ran.json["lines"]


def writer(kafka: Kafka, name: str, count: int) -> subprocess.Popen[str]:
    wanted = json.dumps({"kafka": kafka.environment(), "name": name, "count": count})
    return subprocess.Popen([sys.executable, audit_child.__file__, wanted], stdout=subprocess.PIPE, text=True)


def done_and_told(mesh: RunningMesh, name: str) -> tuple[list[str], list[str]]:
    acts = [key for _, key, _ in read_all(mesh.kafka, [LETTERS]) if key.startswith(f"{name}@")]
    return acts, [line["subject"] for line in lines(mesh, f"{name}@*")]


def test_processes_that_write_at_once_leave_one_chain_with_every_line_once(mesh: RunningMesh) -> None:
    before = intact(mesh)["lines"]
    names = [f"{mesh.unique}{each}" for each in "abc"]
    writers = [writer(mesh.kafka, name, 12) for name in names]
    for each in writers:
        out, _ = each.communicate(timeout=120)
        assert (each.returncode, len(out.splitlines())) == (0, 12)
    for name in names:
        acts, told = done_and_told(mesh, name)
        assert acts == told == [f"{name}@{number}" for number in range(12)]
    assert intact(mesh)["lines"] >= before + 36


def test_a_writer_that_is_killed_leaves_each_act_with_its_line_or_neither(mesh: RunningMesh) -> None:
    chance = random.Random(20261130)
    for number in range(4):
        name = f"{mesh.unique}k{number}"
        child = writer(mesh.kafka, name, 10_000)
        for _ in range(chance.randrange(1, 12)):
            assert child.stdout is not None
            last = child.stdout.readline().strip()
        child.kill()
        child.communicate()
        with closing(AuditedLog(mesh.kafka)) as log:
            audit(log.append, "went on", name)
            log.flush(60)
        acts, told = done_and_told(mesh, name)
        assert acts == told
        assert last in acts  # pyright: ignore[reportPossiblyUnboundVariable]
        assert lines(mesh, name)[-1]["what"] == "went on"
    intact(mesh)


def test_a_writer_whose_last_commit_is_not_marked_yet_writes_no_line_in_its_place(
    mesh: RunningMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[End] = []
    is_marked = True

    def late(kafka: Kafka, known: End | None = None) -> End:
        nonlocal is_marked
        ends.append(end_of_trail(kafka, known))
        if is_marked:
            return ends[-1]
        # A commit returns before its mark is written: until then its lines count in the topic's end, and nobody reads them.
        is_marked = True
        return replace(ends[-1], head=ends[-2].head, keys=frozenset())

    monkeypatch.setattr(audited_log, "end_of_trail", late)
    with closing(AuditedLog(mesh.kafka)) as log:
        for number in range(2):
            audit(log.append, "tests", f"{mesh.unique}@{number}")
            log.flush(30)
            is_marked = bool(number)
    assert is_marked
    intact(mesh)
    assert [line["subject"] for line in lines(mesh, f"{mesh.unique}@*")] == [f"{mesh.unique}@0", f"{mesh.unique}@1"]


def test_lines_of_before_are_taken_up_and_guarded(mesh: RunningMesh, tmp_path: Path) -> None:
    with closing(Log(mesh.kafka, client_id="former")) as former, closing(AuditedLog(mesh.kafka)) as log:
        for number in range(3):
            audit(former.append, "as before", f"{mesh.unique}{number}")
        former.flush(30)
        standing = audited(mesh, "verify").json
        assert standing["waiting"] in {3, 0}, "the mesh's own processes may have written meanwhile, and taken them up"
        assert standing["before"] >= 3
        audit(log.append, "chained", mesh.unique)
        log.flush(60)
    intact(mesh)
    assert audited(mesh, "verify").json["waiting"] == 0
    everything = [line for _, _, line in read_all(mesh.kafka, [AUDIT])]
    taken_up = sum(line["taken_up"]["lines"] for line in everything if "taken_up" in line)
    assert taken_up == sum("seq" not in line for line in everything) >= 3
    file = tmp_path / "audit.jsonl"
    assert audited(mesh, "export", file).status == 0
    file.write_bytes(file.read_bytes().replace(f'"{mesh.unique}1"'.encode(), b'"another"'))
    ran = run("audit", "verify", "--json", file)
    assert (ran.status, [fault["kind"] for fault in ran.json["faults"]]) == (1, ["changed"])


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {"file": tmp_path_factory.mktemp("audit") / "audit.jsonl"}


def chain_of(mesh: RunningMesh, exported: dict[str, Any]) -> list[bytes]:
    """The lines of an export of the running mesh, made once."""
    if "lines" not in exported:
        with closing(AuditedLog(mesh.kafka)) as log:
            for number in range(12):
                audit(log.append, "to be tampered with", f"{mesh.unique}@{number}", count=number)
                log.flush(60)
        assert audited(mesh, "export", exported["file"]).status == 0
        exported["lines"] = exported["file"].read_bytes().splitlines(keepends=True)
    return exported["lines"]


def seq(line: bytes) -> int:
    return int(json.loads(line)["seq"])


def rewritten(line: bytes, **values: Any) -> bytes:
    """A line with other values and a hash that is right again, as a forger writes it."""
    forged = {**json.loads(line), **values}
    return canonical({**forged, "hash": digest(forged)}) + b"\n"


def changed(chain: list[bytes]) -> list[bytes]:
    return [*chain[:-6], chain[-6].replace(b'"what":"', b'"what":"un', 1), *chain[-5:]]


def changed_with_its_hash(chain: list[bytes]) -> list[bytes]:
    return [*chain[:-6], rewritten(chain[-6], subject="another"), *chain[-5:]]


def spaced_out(chain: list[bytes]) -> list[bytes]:
    return [*chain[:-6], chain[-6].replace(b'{"', b'{ "', 1), *chain[-5:]]


def said_twice(chain: list[bytes]) -> list[bytes]:
    """A name that stands twice: readers differ in which they show."""
    return [*chain[:-6], chain[-6].replace(b"{", b'{"what":"nothing",', 1), *chain[-5:]]


def removed(chain: list[bytes]) -> list[bytes]:
    return [*chain[:-6], *chain[-5:]]


def first_removed(chain: list[bytes]) -> list[bytes]:
    first = next(number for number, line in enumerate(chain) if b'"seq":1,' in line)
    return chain[first + 1 :]


def reordered(chain: list[bytes]) -> list[bytes]:
    return [*chain[:-6], chain[-5], chain[-6], *chain[-4:]]


def inserted(chain: list[bytes]) -> list[bytes]:
    return [*chain[:-5], rewritten(chain[-6], what="never done"), *chain[-5:]]


def inserted_without_a_link(chain: list[bytes]) -> list[bytes]:
    return [*chain[:-5], b'{"what":"never done","who":"nobody"}\n', *chain[-5:]]


def truncated(chain: list[bytes]) -> list[bytes]:
    return chain[:-3]


def cut_within_a_line(chain: list[bytes]) -> list[bytes]:
    return [*chain[:-1], chain[-1][:40]]


@pytest.mark.parametrize(
    ("tamper", "kind", "behind"),
    [
        (changed, "changed", 6),
        (changed_with_its_hash, "changed", 6),
        (spaced_out, "changed", 6),
        (said_twice, "changed", 6),
        (removed, "removed", 5),
        (first_removed, "removed", None),
        (reordered, "reordered", 5),
        (inserted, "inserted", 6),
        (inserted_without_a_link, "inserted", 6),
        (cut_within_a_line, "unreadable", 1),
    ],
    ids=lambda each: each.__name__ if callable(each) else None,
)
def test_whatever_is_done_to_an_export_is_found_without_the_mesh(
    mesh: RunningMesh, exported: dict[str, Any], tmp_path: Path,
    tamper: Callable[[list[bytes]], list[bytes]], kind: str, behind: int | None,
) -> None:  # fmt: skip
    chain = chain_of(mesh, exported)
    file = tmp_path / "tampered.jsonl"
    file.write_bytes(b"".join(tamper(chain)))
    ran = run("audit", "verify", "--json", file)
    assert (ran.status, ran.json["intact"]) == (1, False)
    faults = ran.json["faults"]
    assert kind in {fault["kind"] for fault in faults}, faults
    if behind is not None:  # counted from the end of the file that was tampered with
        at = len(tamper(chain)) + 1 - behind
        assert any(fault["kind"] == kind and fault["place"] == at for fault in faults), (at, faults)
    shown = run("audit", "verify", file)
    assert "BROKEN" in shown.out


def test_an_end_that_is_missing_is_found_by_a_head_that_was_noted_or_by_the_running_mesh(
    mesh: RunningMesh, exported: dict[str, Any], tmp_path: Path
) -> None:
    chain = chain_of(mesh, exported)
    whole, short = tmp_path / "whole.jsonl", tmp_path / "short.jsonl"
    whole.write_bytes(b"".join(chain))
    short.write_bytes(b"".join(truncated(chain)))
    noted = run("audit", "verify", "--json", whole).json["head"]
    assert noted == f"{seq(chain[-1])}:{json.loads(chain[-1])['hash']}"
    assert run("audit", "verify", "--json", whole, "--head", noted).status == 0
    assert run("audit", "verify", "--json", short).status == 0, "no chain says of itself that it went on"
    ran = run("audit", "verify", "--json", short, "--head", noted.partition(":")[2])
    assert (ran.status, [fault["kind"] for fault in ran.json["faults"]]) == (1, ["truncated"])
    ran = run("audit", "verify", "--json", short, "--head", noted)
    assert f"the noted head is of line {seq(chain[-1])}, the last here is {seq(chain[-4])}" in ran.out
    assert audited(mesh, "verify", "--head", noted).status == 0
    assert run("audit", "verify", "--json", whole, "--head", "4711").status == 1

    def compared(file: Path) -> Ran:
        return audited(mesh, "verify", file, "--running")

    head = audited(mesh, "head").json
    assert audited(mesh, "export", whole).status == 0
    assert compared(whole).status == 0 or audited(mesh, "head").json != head  # others may have written meanwhile
    ran = compared(short)
    assert (ran.status, [fault["kind"] for fault in ran.json["faults"]]) == (1, ["truncated"])


def test_an_act_without_its_line_is_not_written(mesh: RunningMesh) -> None:
    with closing(AuditedLog(mesh.kafka)) as log:
        log.append(LETTERS, f"{mesh.unique}@1".encode(), b"{}")
        with pytest.raises(AssertionError, match="without a line"):
            log.flush(30)
    assert done_and_told(mesh, mesh.unique) == ([], [])


def onboarded(mesh: RunningMesh, *, is_live: bool = False) -> tuple[str, str]:
    """A feed, a grant on it, and the feed's address where it is served live."""
    agency, code = f"{mesh.unique}a", f"{mesh.unique}s"
    with database(mesh.database(agency)) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, name text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t VALUES (1, '张三'), (2, '李四')")
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "name": "string"}, tags=["PII", "L2"])})
    mesh.database(code)
    mesh.subscriber(code, {"feed": f"{agency}.t", "columns": ["name"], "row_filter": "name != '王五'"})
    url = f"http://127.0.0.1:{free_port()}"
    if is_live:
        file = mesh.folder / code / "subscriber.yaml"
        subscriber = json.loads(file.read_text())
        subscriber["sinks"] = [{"name": "main", "kind": "live", "token": "${LIVE_TOKEN}", "options": {"listen": url}}]
        file.write_text(json.dumps(subscriber, ensure_ascii=False))
        mesh.variables["LIVE_TOKEN"] = TOKEN
    mesh.done("onboard", mesh.folder)
    return f"{code}.{agency}.t", url


def test_everything_that_people_do_is_in_it_and_no_value_of_a_row(mesh: RunningMesh) -> None:
    grant, _ = onboarded(mesh)
    code, _, feed = grant.partition(".")
    mesh.verified(grant, 2)
    for what, subject in [("agency", feed.split(".")[0]), ("feed", feed), ("subscriber", code), ("grant", grant)]:
        (line,) = lines(mesh, subject, f"{what} onboarded")
        assert line["who"]
    assert (line["purpose"], line["columns"], line["filtered"]) == ("核验", ["name"], True)  # pyright: ignore[reportPossiblyUnboundVariable]
    folder = mesh.folder.resolve().name
    assert [line["what"] for line in lines(mesh, folder)] == ["onboarding begun", "onboarding done"]
    assert mesh.run("grant", grant, "SUSPENDED").status == 0
    assert mesh.run("grant", grant, "ACTIVE").status == 0
    for what, status in (("grant suspended", "SUSPENDED"), ("grant resumed", "ACTIVE")):
        assert [line["status"] for line in lines(mesh, grant, what)] == [status]
    assert mesh.run("resync", feed).status == 0
    assert len(lines(mesh, feed, "resync asked")) == 1
    mesh.done("replay", grant)
    assert len(lines(mesh, grant, "replay")) == 1
    assert mesh.run("offboard", "agency", feed.split(".")[0], "--yes").status == 0
    for subject, what in [(grant, "grant withdrawn"), (grant, "grant ended"), (feed, "feed withdrawn")]:
        until(lambda at=(subject, what): len(lines(mesh, *at)) == 1, 60, f"{what} is in it")
    assert len(lines(mesh, f"{feed.split('.')[0]}.main", "slot given back")) == 1
    intact(mesh)
    text = json.dumps([line for _, _, line in read_all(mesh.kafka, [AUDIT])], ensure_ascii=False)
    assert not [name for name in ("张三", "李四", "王五") if name in text]


def test_a2_what_was_refused_is_in_it(mesh: RunningMesh, tmp_path: Path) -> None:
    """HANDBOOK A2."""
    nobody = f"{mesh.unique}n.x.t"
    for command, *arguments in (["grant", nobody, "REVOKED"], ["replay", nobody], ["resync", nobody]):
        assert mesh.run(command, *arguments).status == 1
    assert run("dlq", "retry", f"{nobody}@1", "--dir", mesh.directory).status == 1
    assert [line["what"] for line in lines(mesh, f"{nobody}*")] == [
        "grant status refused", "replay refused", "resync refused", "dlq retry refused",
    ]  # fmt: skip
    assert all(line["reason"] for line in lines(mesh, f"{nobody}*"))
    assert mesh.run("grant", "张三.440103198001011234", "REVOKED").status == 1
    assert not [line for _, _, line in read_all(mesh.kafka, [AUDIT]) if "440103198001011234" in str(line)]
    folder = tmp_path / f"{mesh.unique}broken"
    folder.mkdir()
    (folder / "subscriber.yaml").write_text(json.dumps({"subscriber": f"{mesh.unique}q", "grants": []}))
    assert mesh.run("onboard", folder).status == 1
    (line,) = lines(mesh, folder.name, "onboarding refused")
    assert line["errors"] >= 1


def test_a2_attempts_at_a_live_feed_are_lines_that_are_counted(mesh: RunningMesh) -> None:
    """HANDBOOK A2: without a right token nothing is had, and the attempts are one line at once and one for the rest of a minute."""
    grant, url = onboarded(mesh, is_live=True)
    sink = f"{grant.partition('.')[0]}.main"
    with closing(Subscriber(url)) as subscriber, closing(Subscriber(url, token="W" * 40)) as stranger:
        until(lambda: is_served(subscriber), 60, "it is served")
        for _ in range(200):
            assert stranger.client.get("/v1/changes").status_code in {401, 429}
        (line,) = until(lambda: lines(mesh, sink, "live feed refused"), 30, "the attempt is in the audit")
        assert (line["reason"], line["count"] >= 1) == ("no right token", True)
        assert line["addresses"] == ["127.0.0.1"]
        assert len(lines(mesh, sink, "live feed refused")) <= 2, "two hundred attempts are no two hundred lines"
        assert "W" * 40 not in json.dumps(line)
    assert read_directory(mesh.kafka).grants[grant].grant.status == "ACTIVE"


def is_served(subscriber: Subscriber) -> bool:
    try:
        return subscriber.client.get("/v1/changes?max=1").status_code == 200
    except httpx.ConnectError:
        return False


def test_a_line_that_was_under_way_while_another_writer_looked_is_not_passed_over(mesh: RunningMesh) -> None:
    """Whose id was taken sees no line that is not committed yet; it may be, once that writer tries again."""
    name = f"{mesh.unique}fork"

    def under_way() -> Producer:
        """A producer that has taken the id, with the next line appended and not committed."""
        producer = Producer(configuration(mesh.kafka, AUDIT, {"log_level": "0"}))
        producer.init_transactions(30)
        end = end_of_trail(mesh.kafka)
        line, _ = linked(
            {"what": "under way", "subject": name, "when": "now"}, end.head, end.offset, [h for _, h in end.loose]
        )
        producer.begin_transaction()
        producer.produce(AUDIT, canonical(line), f"{name} under way".encode(), 0)
        producer.flush(30)
        return producer

    with closing(AuditedLog(mesh.kafka)) as log:
        for _ in range(20):
            audit(log.append, "before", name)
            log.flush(60)
            with suppress(KafkaException):  # somebody else has taken the id from the one that is under way: again
                commits = [under_way().commit_transaction]

                def commit(commits: list[Any] = commits) -> bool:
                    if commits:
                        commits.pop()(30)
                    return True

                audit(log.append, "behind", name)
                log.flush(60, commit)
                break
    whats = [line["what"] for line in lines(mesh, name)]
    assert whats[-3:] == ["before", "under way", "behind"]
    intact(mesh)
