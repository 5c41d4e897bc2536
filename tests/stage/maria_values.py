"""MariaDB as the oracle of its own values: each row through the log and through a copy, and what the server says of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from producers.mysql.book import LogMark
from producers.mysql.source import MysqlSource
from producers.source import MemoryProgress, SourceSetting
from schemas.agreement.agency import Agency, SourceConfig
from schemas.contract import Contract
from schemas.feed import dead_letter_topic
from schemas.incident import MemoryIncidents
from schemas.wire.codec import Codec
from tests.stage.capturing import DATE, TIMESTAMP, TIMESTAMPTZ, UUID, Schemas, Seen, contract
from tests.stage.until import until

Make = Callable[[random.Random], str]
"""A value as SQL."""


@dataclass(frozen=True)
class MariaKind:
    """A column: its declaration, its values as SQL, its typed branch, and the typed value as SQL (`{}` is the column)."""

    type: str
    values: Make
    avro: Any
    oracle: str = "{}"
    printed: str | None = "CAST({} AS CHAR)"


def numbers(low: int, high: int) -> Make:
    ends = (low, high, 0, 1, max(low, -1))
    return lambda chance: str(chance.choice(ends) if chance.random() < 0.4 else chance.randint(low, high))


def decimals(digits: int, scale: int) -> Make:
    limit = 10**digits - 1

    def make(chance: random.Random) -> str:
        unscaled = chance.choice([limit, -limit, 0, 1, -1, chance.randint(-limit, limit), chance.randint(-999, 999)])
        text = f"{abs(unscaled):0{scale + 1}d}"
        return ("-" if unscaled < 0 else "") + (f"{text[:-scale]}.{text[-scale:]}" if scale else text)

    return make


def texts(alphabet: str, longest: int) -> Make:
    def make(chance: random.Random) -> str:
        text = "".join(
            chance.choice(alphabet) for _ in range(chance.choice([0, 1, longest, chance.randint(0, longest)]))
        )
        return "'{}'".format(text.replace("\\", "\\\\").replace("'", "''"))

    return make


def blobs(longest: int) -> Make:
    def make(chance: random.Random) -> str:
        size = chance.choice([0, 1, longest, chance.randint(0, longest)])
        raw = bytes(chance.choice([0, 0x20, 0xFF, chance.randrange(256)]) for _ in range(size))
        return f"x'{raw.hex()}'"

    return make


def days(chance: random.Random) -> str:
    odd = ["'0000-00-00'", "'2024-00-00'", "'2024-02-00'"] if chance.random() < 0.1 else []
    ends = ["'0001-01-01'", "'1970-01-01'", "'9999-12-31'", "'2024-02-29'", *odd]
    return chance.choice(
        [*ends, f"'{chance.randint(1000, 9999):04d}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}'"]
    )


def moments(digits: int, first: int = 1000, last: int = 9999) -> Make:
    def make(chance: random.Random) -> str:
        day = f"{chance.randint(first, last):04d}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
        clock = f"{chance.randint(0, 23):02d}:{chance.randint(0, 59):02d}:{chance.randint(0, 59):02d}"
        fraction = f".{chance.randrange(10**digits):0{digits}d}" if digits else ""
        return chance.choice([f"'{day} {clock}{fraction}'"] * 12 + ["'0000-00-00 00:00:00'"])

    return make


def times(digits: int) -> Make:
    def make(chance: random.Random) -> str:
        hours, minutes, seconds = chance.choice([0, 1, 23, 24, 838]), chance.randint(0, 59), chance.randint(0, 59)
        clock = f"{hours:02d}:{minutes:02d}:{seconds:02d}"
        fraction = f".{chance.randrange(10**digits):0{digits}d}" if digits else ""
        return f"'{chance.choice(['', '-'])}{clock}{fraction}'"

    return make


LATIN, CHINESE, ALL = "aZ09 é€ÿ'\\", "中文户籍 aé"[:6], "中文 aé🙂'\\%\t\n"
MICROS = "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',{})"
CLOCK = "TIME_TO_SEC({})*1000000"
SIZED = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
KINDS: dict[str, MariaKind] = {
    **{
        f"{name}_s": MariaKind(name, numbers(-(1 << bits - 1), (1 << bits - 1) - 1), "long" if bits > 32 else "int")
        for name, bits in SIZED.items()
    },
    **{
        f"{name}_u": MariaKind(f"{name} unsigned", numbers(0, (1 << bits) - 1), "long" if bits > 24 else "int")
        for name, bits in SIZED.items()
        if bits < 64
    },
    "big_u": MariaKind(
        "bigint unsigned",
        numbers(0, (1 << 64) - 1),
        {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0},
        "CAST({} AS CHAR)",
    ),
    **{
        f"dec_{digits}_{scale}": MariaKind(
            f"decimal({digits},{scale})",
            decimals(digits, scale),
            {"type": "bytes", "logicalType": "decimal", "precision": digits, "scale": scale},
            "CAST({} AS CHAR)",
        )
        for digits, scale in [(1, 0), (12, 2), (9, 9), (20, 7), (38, 18), (65, 30), (10, 0)]
    },
    "padded": MariaKind("int(7) unsigned zerofill", numbers(0, 99_999_999), "long"),
    "float_": MariaKind("float", lambda chance: repr(chance.uniform(-1e6, 1e6)), "float", "{}+0e0", None),
    "double_": MariaKind("double", lambda chance: repr(chance.uniform(-1e300, 1e300)), "double", "{}+0e0", None),
    "fixed": MariaKind("double(10,3)", lambda chance: f"{chance.uniform(-1e6, 1e6):.3f}", "double", "{}+0e0", None),
    "year_": MariaKind("year", lambda chance: str(chance.choice([0, 1901, 2155, 2024])), "int"),
    "bit_1": MariaKind(
        "bit(1)", lambda chance: chance.choice(["b'0'", "b'1'"]), "boolean", "{}+0", "LPAD(BIN({}),1,'0')"
    ),
    "bit_11": MariaKind("bit(11)", numbers(0, 2047), "string", "LPAD(BIN({}),11,'0')", "LPAD(BIN({}),11,'0')"),
    "bit_64": MariaKind("bit(64)", numbers(0, (1 << 64) - 1), "string", "LPAD(BIN({}),64,'0')", "LPAD(BIN({}),64,'0')"),
    "date_": MariaKind("date", days, DATE, "DATEDIFF({},'1970-01-01')"),
    **{f"dt_{n}": MariaKind(f"datetime({n})", moments(n), TIMESTAMP, MICROS) for n in (0, 1, 3, 4, 6)},
    **{f"ts_{n}": MariaKind(f"timestamp({n}) NULL", moments(n, 1971, 2037), TIMESTAMPTZ, MICROS) for n in (0, 2, 3, 6)},
    **{f"time_{n}": MariaKind(f"time({n})", times(n), "long", CLOCK) for n in (0, 1, 3, 5, 6)},
    "char_": MariaKind("char(20)", texts(ALL, 20), "string"),
    "vc": MariaKind("varchar(60)", texts(ALL, 60), "string"),
    "vc_long": MariaKind("varchar(700)", texts(ALL, 400), "string"),
    "text_": MariaKind("text", texts(ALL, 300), "string"),
    "long_": MariaKind("longtext", texts(ALL, 300), "string"),
    "json_": MariaKind("json", lambda chance: f'\'{{"a": [{chance.random()}, null, "中"]}}\'', "string"),
    "packed": MariaKind("text compressed", texts(ALL, 400), "string"),
    "packed_vc": MariaKind("varchar(500) compressed", texts(ALL, 400), "string"),
    "latin": MariaKind("varchar(40) CHARACTER SET latin1", texts(LATIN, 40), "string"),
    "gbk_": MariaKind("varchar(40) CHARACTER SET gbk", texts(CHINESE, 40), "string"),
    "gb_char": MariaKind("char(10) CHARACTER SET gb2312", texts(CHINESE[:5], 10), "string"),
    "utf16_": MariaKind("varchar(40) CHARACTER SET utf16", texts(ALL, 40), "string"),
    "binary_": MariaKind("binary(12)", blobs(12), "bytes", "{}", None),
    "varbinary_": MariaKind("varbinary(60)", blobs(60), "bytes", "{}", None),
    "blob_": MariaKind("blob", blobs(400), "bytes", "{}", None),
    "packed_blob": MariaKind("blob compressed", blobs(400), "bytes", "{}", None),
    "point_": MariaKind(
        "point", lambda chance: f"ST_PointFromText('POINT({chance.random()} -3)', 4490)", "bytes", "{}", None
    ),
    "enum_": MariaKind(
        "enum('a','中','it''s')", lambda chance: chance.choice(["'a'", "'中'", "'it''s'", "'odd'"]), "string"
    ),
    "enum_g": MariaKind("enum('甲','乙') CHARACTER SET gbk", lambda chance: chance.choice(["'甲'", "'乙'"]), "string"),
    "set_": MariaKind("set('x','y','中')", lambda chance: chance.choice(["''", "'x'", "'x,中'", "'y,x'"]), "string"),
    "uuid_": MariaKind("uuid", lambda chance: chance.choice(["uuid()", f"'{chance.randbytes(16).hex()}'"]), UUID),
    "inet6_": MariaKind(
        "inet6",
        lambda chance: "'{}'".format(
            chance.choice(
                [
                    "::",
                    "::1",
                    "::ffff:1.2.3.4",
                    "::1.2.3.4",
                    "1:0:0:2:0:0:0:3",
                    "::1:0",
                    "fe80::",
                    f"2001:db8::{chance.randrange(9):x}:1",
                ]
            )
        ),
        "string",
    ),
    "inet4_": MariaKind("inet4", lambda chance: f"'{chance.randrange(256)}.2.0.{chance.randrange(256)}'", "string"),
}


def typed_contract(database: str, agency: str) -> Contract:
    fields = {"id": "int", **{name: kind.avro for name, kind in KINDS.items()}}
    return contract(f"{agency}.v", fields, table=f"{database}.v")


def textual_contract(database: str, agency: str) -> Contract:
    named = {name: "string" for name, kind in KINDS.items() if kind.printed is not None}
    return contract(f"{agency}.v", {"id": "int", **named}, table=f"{database}.v")


class Taken:
    """What one source has read: rows by key, and dead letters."""

    def __init__(self, codec: Codec, feed: str) -> None:
        self._codec, self._feed = codec, feed
        self.rows: dict[int, Mapping[str, Any]] = {}
        self.dead: list[Mapping[str, bytes]] = []
        self.log_marks: list[int] = []
        """The places that were said to be whole."""

    def take(self, records: list[Any]) -> None:
        for topic, _, value, _, headers in records:
            if topic == dead_letter_topic(self._feed):
                self.dead.append(dict(headers))
            elif value is not None:
                after = self._codec.decode(value)["after"]
                self.rows[after["id"]] = after


@contextmanager
def reading(
    address: str, agreed: Contract, **options: Any
) -> Iterator[tuple[MysqlSource, Taken, Callable[[int], None]]]:
    """One open source, and how to read until so many rows, whole or dead, have come."""
    schemas = Schemas()
    entry = schemas.entry(agreed)
    feeds = {agreed.feed: entry}
    config = SourceConfig(name="main", kind="mysql", options=options)
    agency = Agency(agency=agreed.agency, name="", sources=(config,))
    incidents = MemoryIncidents()
    setting = SourceSetting(
        agency=agency,
        config=config,
        address=address,
        feeds=lambda: feeds,
        progress=MemoryProgress(),
        observer=Seen(),
        incidents=incidents,
    )
    source = MysqlSource(setting)
    taken = Taken(Codec(schemas.of), agreed.feed)
    batches = source.batches()

    def read(count: int) -> None:
        def has_come() -> bool:
            batch = next(batches)
            taken.take(batch.records)
            for _, mark in batch.marks:
                source.confirm(mark)
                if isinstance(mark, LogMark):
                    taken.log_marks.append(mark.place)
            assert not incidents.present(), incidents.present()
            return len(taken.rows) + len(taken.dead) >= count

        until(has_come, 60, f"{count} rows")

    try:
        yield source, taken, read
    finally:
        batches.close()  # type: ignore[attr-defined]
        source.close()
