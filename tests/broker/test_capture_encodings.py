"""Databases whose text is not UTF-8: it arrives as it is to be read; what cannot be read is a dead letter, and all else flows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from ops.onboarding.draft import draft
from ops.proof.compare import entitled
from producers.postgresql.link.text import TextConnection
from producers.postgresql.onboarding.preflight import preflight
from producers.postgresql.read_back import rows
from producers.postgresql.value.encoding import _OWN, to_utf8
from schemas.agreement.grant import Grant
from schemas.contract import Contract
from tests.stage import feeds
from tests.stage.capturing import Rig, contract
from tests.stage.until import until

FIELDS = {
    "id": "long",
    "note": "string",
    "kind": "string",
    "list": {"type": "array", "items": ["null", "string"]},
    "doc": "string",
}
TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, note text, kind varchar, list text[], doc jsonb, raw bytea)"


def encoded(rig: Rig, encoding: str, **options: Any) -> Rig:
    """The rig on a new database of that encoding."""
    name = f"{urlsplit(rig.dsn).path[1:]}_e"
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        create = sql.SQL("CREATE DATABASE {} ENCODING {} TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'")
        db.execute(create.format(sql.Identifier(name), encoding))
    return Rig(rig.kafka, urlsplit(rig.dsn)._replace(path=f"/{name}").geturl(), rig.agency, **options)


def insert(db: psycopg.Connection[Any], number: int, text: bytes, encoding: str) -> None:
    """A row with these bytes in every column that holds text."""
    db.execute(
        "INSERT INTO t SELECT %s, x, x, ARRAY[x, 'a b'], to_jsonb('ascii'::text) FROM convert_from(%s, %s) x",
        (number, text, encoding),
    )


def letters(rig: Rig, feed: str) -> list[Any]:
    return [message for found in feeds.read_all(rig.kafka, [f"dlq.{feed}"]).values() for message in found]


CASES = {
    # what the server says, what the source's option says, bytes with what they mean, bytes that mean nothing
    "sql_ascii": ("SQL_ASCII", None, {b"plain": "plain", "公民".encode(): "公民"}, b"\xd6\xd0"),
    "sql_ascii_utf8": ("SQL_ASCII", "utf8", {"公民".encode(): "公民"}, b"\xff"),
    "sql_ascii_gb18030": (
        "SQL_ASCII",
        "gb18030",
        {
            b"\xd6\xd0": "中",
            "朱镕基 丂\\ 𠀀".encode("gb18030"): "朱镕基 丂\\ 𠀀",
            "誠{、|}".encode("gb18030"): "誠{、|}",
        },
        b"\xff\xff",
    ),
    "sql_ascii_gbk": ("SQL_ASCII", "gbk", {"丂亐".encode("gbk"): "丂亐"}, b"\x81\x30\x81\x30"),
    "sql_ascii_big5": ("SQL_ASCII", "big5", {"功許蓋".encode("big5"): "功許蓋"}, b"\xff"),  # each ends in a backslash
    "euc_cn": ("EUC_CN", None, {b"\xd6\xd0\xa1\xa4\xa1\xaa": "中・―"}, b"\xa2\xa1"),
    "euc_cn_gb18030": ("EUC_CN", "gb18030", {b"\xd6\xd0": "中", b"\xa2\xa1": "\u2170"}, None),
    "latin1": ("LATIN1", None, {b"Caf\xe9": "Café"}, None),
}


@pytest.mark.parametrize(("server", "option", "texts", "broken"), CASES.values(), ids=CASES.keys())
def test_text_arrives_in_snapshot_and_stream_and_what_cannot_be_read_is_a_dead_letter(
    rig: Rig, server: str, option: str | None, texts: dict[bytes, str], broken: bytes | None
) -> None:
    rig = encoded(rig, server, **({"text_encoding": option} if option else {}))
    feed = f"{rig.agency}.t"
    agreed = contract(feed, FIELDS)
    rig.add(agreed)
    count = len(texts)
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute(TABLE)
        db.execute("ALTER TABLE t REPLICA IDENTITY FULL")
        assert not [f for f in preflight(rig.dsn, [agreed], text_encoding=option) if f.severity == "error"]
        for round_, start in enumerate((100, 200)):  # copied, then streamed
            for number, text in enumerate(texts, start):
                insert(db, number, text, server)
            if broken is not None:
                insert(db, start + 50, broken, server)
            insert(db, start + 99, b"after", server)
            if round_ == 0:
                capturing = rig.capturing()
                capturing.__enter__()
                rig.until_rows(feed, count + 1)
                rig.until_streaming()
        try:
            rows = rig.until_rows(feed, 2 * count + 2)
            found = (
                letters(rig, feed)
                if broken is None
                else until(lambda: f if len(f := letters(rig, feed)) == 2 else None, 60, "both dead letters")
            )
            if broken is not None:  # mended by its department, the row is there
                db.execute("UPDATE t SET note = 'm', kind = 'm', list = '{m}' WHERE id = 250")
                until(lambda: rig.fold(feed).get((250,), {}).get("note") == "m", 60, "the mended row")
        finally:
            capturing.__exit__(None, None, None)
    for start in (100, 200):
        for number, meant in enumerate(texts.values(), start):
            row = rows[number,]
            assert (row["note"], row["kind"], row["list"]) == (meant, meant, [meant, "a b"])
            assert json.loads(row["doc"]) == "ascii"
    assert len(found) == (0 if broken is None else 2)
    for letter in found:
        assert broken is not None
        assert broken in letter.value(), "the bytes as they are"
        headers = dict(letter.headers())
        assert any(b'["0001"' in value for value in headers.values()), headers


def test_names_and_labels_in_another_encoding_are_drafted_and_captured(rig: Rig, tmp_path: Path) -> None:
    rig = encoded(rig, "SQL_ASCII", text_encoding="gb18030")
    with TextConnection.connect(rig.dsn, autocommit=True) as db:
        db.read_by("gb18030")
        db.execute("CREATE TYPE 类别 AS ENUM ('个体', '企业')")
        db.execute("CREATE TABLE 登记 (编号 bigint PRIMARY KEY, 名称 text, 类 类别, 历 类别[])")
        db.execute("INSERT INTO 登记 VALUES (1, '广州', '企业', '{个体,企业}')")
        written = draft(rig.dsn, [], tmp_path, rig.agency, text_encoding="gb18030")
        assert not [finding for finding in written.findings if finding.severity == "error"]
        (path,) = tmp_path.glob("*.avsc")
        assert "options: {text_encoding: gb18030}" in (tmp_path / "agency.yaml").read_text()
        agreed = Contract.parse(json.loads(path.read_text()), f"{rig.agency}.t")
        assert agreed.table == "public.登记"
        assert [field.column for field in agreed.fields] == ["编号", "名称", "类", "历"]
        rig.add(agreed)
        with rig.capturing():
            rig.until_rows(agreed.feed, 1)
            rig.until_streaming()
            db.execute("INSERT INTO 登记 VALUES (2, '深圳', '个体', NULL)")
            db.execute("UPDATE 登记 SET 编号 = 3, 类 = '企业' WHERE 编号 = 1")
            rows = until(lambda: r if (r := rig.fold(agreed.feed)).keys() == {(2,), (3,)} else None, 60, "the changes")
    assert list(rows[2,].values()) == [2, "深圳", "个体", None]
    assert list(rows[3,].values()) == [3, "广州", "企业", ["个体", "企业"]]


def test_an_encoding_that_contradicts_the_database_is_refused(rig: Rig) -> None:
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    agreed = contract(f"{rig.agency}.t", {"id": "long", "note": "string"})
    (refused,) = [f for f in preflight(rig.dsn, [agreed], text_encoding="gbk") if f.severity == "error"]
    assert "the database's own encoding is UTF8" in refused.message


CONVERT = """
CREATE FUNCTION converted(raw bytea, encoding text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN RETURN convert_from(raw, encoding); EXCEPTION WHEN OTHERS THEN RETURN NULL; END$$"""


def test_texts_are_read_as_the_server_itself_would_read_them(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(CONVERT)
        for encoding, codec in _OWN.items():
            if encoding == "SQL_ASCII":
                continue
            singles = [bytes([byte]) for byte in range(0x80, 0x100)]
            pairs = [bytes([high, low]) for high in range(0xA1, 0xFF) for low in range(0xA1, 0xFF)]
            raws = pairs if encoding.startswith("EUC") else singles
            query = "SELECT converted(r, %s) FROM unnest(%s::bytea[]) WITH ORDINALITY u(r, n) ORDER BY n"
            expected = [row[0] for row in db.execute(query, (encoding, raws)).fetchall()]
            convert = to_utf8(codec)
            for raw, text in zip(raws, expected, strict=True):
                try:
                    ours = convert(raw).decode()
                except UnicodeDecodeError:
                    ours = None
                # Nothing that the server refuses to read is read, but for what one of both does not know yet.
                assert text is None or ours is None or ours == text, (encoding, raw.hex(), text, ours)
                if encoding == "EUC_CN":
                    assert ours == text, raw.hex()


@pytest.mark.parametrize(("server", "option", "texts", "broken"), CASES.values(), ids=CASES.keys())
def test_verify_expects_what_can_be_read_and_no_dead_letter(
    rig: Rig, server: str, option: str | None, texts: dict[bytes, str], broken: bytes | None
) -> None:
    rig = encoded(rig, server)
    agreed = contract(f"{rig.agency}.t", FIELDS)
    grant = Grant(
        subscriber="x",
        feed=agreed.feed,
        columns=("note", "kind", "list"),
        purpose="核验",
        legal_basis="示例依据",
        grant_id=f"x.{agreed.feed}",
    )
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute(TABLE)
        for number, text in enumerate(texts):
            insert(db, number, text, server)
        if broken is not None:
            insert(db, 50, broken, server)
    expected = {(number,): (number, meant, meant, (meant, "a b")) for number, meant in enumerate(texts.values())}
    assert entitled(grant, agreed, rows(rig.dsn, agreed, option)) == expected


def test_verify_finds_names_in_another_encoding(rig: Rig) -> None:
    rig = encoded(rig, "SQL_ASCII")
    agreed = contract(f"{rig.agency}.t", {"id": "long", "note": "string"}, table="public.登记")
    grant = Grant(
        subscriber="x",
        feed=agreed.feed,
        columns=("note",),
        purpose="核验",
        legal_basis="示例依据",
        grant_id=f"x.{agreed.feed}",
    )
    with TextConnection.connect(rig.dsn, autocommit=True) as db:
        db.read_by("gb18030")
        db.execute("CREATE TABLE 登记 (id bigint PRIMARY KEY, note text)")
        db.execute("INSERT INTO 登记 VALUES (1, '广州')")
    assert entitled(grant, agreed, rows(rig.dsn, agreed, "gb18030")) == {(1,): (1, "广州")}
