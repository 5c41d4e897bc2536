"""PostgreSQL's binary values as PostgreSQL's own text, byte for byte.

Needed where a contract keeps a value as `string`: types without an Avro counterpart, and values that the typed branch of a
lossless column cannot hold (RULES.md, Values). Text is what the server prints with the settings of our connections
(DateStyle ISO, IntervalStyle postgres, TimeZone UTC, lc_monetary C, extra_float_digits 1; PG-21). The broker test
compares every function here with the real database.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from datetime import date, timedelta

Text = Callable[[bytes], bytes]

INT64_MAX = (1 << 63) - 1
INT64_MIN = -(1 << 63)
INT32_MAX = (1 << 31) - 1
INT32_MIN = -(1 << 31)
DAY_MICROS = 86_400_000_000

_2000 = date(2000, 1, 1)
_DAYS_PER_400_YEARS = 146_097


def verbatim(raw: bytes) -> bytes:
    """Types whose binary form is their text."""
    return raw


def integer(raw: bytes) -> bytes:
    """int2, int4, int8."""
    return b"%d" % int.from_bytes(raw, "big", signed=True)


def unsigned(raw: bytes) -> bytes:
    """oid, xid, cid, xid8."""
    return b"%d" % int.from_bytes(raw, "big")


def boolean(raw: bytes) -> bytes:
    """Type bool."""
    return b"t" if raw == b"\x01" else b"f"


def single_char(raw: bytes) -> bytes:
    """The one-byte type "char"."""
    if raw == b"\0":
        return b""
    return raw if raw < b"\x80" else b"\\%03o" % raw[0]


def versioned(raw: bytes) -> bytes:
    """jsonb, jsonpath, ltree and its queries: one version byte, then text."""
    if raw[:1] != b"\x01":
        raise ValueError("unknown version byte")
    return raw[1:]


def byte_array(raw: bytes) -> bytes:
    """bytea, in hex."""
    return b"\\x" + raw.hex().encode()


def uuid(raw: bytes) -> bytes:
    """Type uuid."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()


def visible_transactions(raw: bytes) -> bytes:
    """pg_snapshot and txid_snapshot: the bounds, and what ran in between."""
    count, lowest, next_one = struct.unpack_from(">iqq", raw)
    running = struct.unpack_from(f">{count}q", raw, 20)
    return b"%d:%d:%b" % (lowest, next_one, b",".join(b"%d" % number for number in running))


def row_place(raw: bytes) -> bytes:
    """Type tid: block and offset."""
    return b"(%d,%d)" % struct.unpack(">IH", raw)


def lsn(raw: bytes) -> bytes:
    """pg_lsn."""
    high, low = struct.unpack(">II", raw)
    return b"%X/%X" % (high, low)


def numeric(raw: bytes) -> bytes:
    """numeric, with exactly the fraction digits that the value carries."""
    count, weight, sign, scale = struct.unpack_from(">hhHH", raw)
    if sign >= 0xC000:
        return {0xC000: b"NaN", 0xD000: b"Infinity", 0xF000: b"-Infinity"}[sign]
    digits = struct.unpack_from(f">{count}h", raw, 8)
    whole = "".join(f"{digits[i] if i < count else 0:04d}" for i in range(weight + 1)).lstrip("0") or "0"
    places = range(weight + 1, weight + 1 + (scale + 3) // 4)
    fraction = "".join(f"{digits[i] if 0 <= i < count else 0:04d}" for i in places)[:scale]
    return f"{'-' if sign else ''}{whole}{'.' if scale else ''}{fraction}".encode()


def _civil(days: int) -> tuple[str, str]:
    """The ISO text of a day counted from 2000-01-01, and " BC" where it applies."""
    cycles, rest = divmod(days, _DAYS_PER_400_YEARS)
    day = _2000 + timedelta(days=rest)
    year = day.year + 400 * cycles
    era = "" if year > 0 else " BC"
    return f"{year if year > 0 else 1 - year:04d}-{day.month:02d}-{day.day:02d}", era


def _clock(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction:06d}".rstrip("0") if fraction else text


def day(raw: bytes) -> bytes:
    """Type date."""
    days = int.from_bytes(raw, "big", signed=True)
    if days in (INT32_MAX, INT32_MIN):
        return b"infinity" if days > 0 else b"-infinity"
    return "".join(_civil(days)).encode()


def _moment(raw: bytes, zone: str) -> bytes:
    micros = int.from_bytes(raw, "big", signed=True)
    if micros in (INT64_MAX, INT64_MIN):
        return b"infinity" if micros > 0 else b"-infinity"
    days, rest = divmod(micros, DAY_MICROS)
    text, era = _civil(days)
    return f"{text} {_clock(rest)}{zone}{era}".encode()


def timestamp(raw: bytes) -> bytes:
    """Type timestamp without time zone."""
    return _moment(raw, "")


def timestamptz(raw: bytes) -> bytes:
    """Type timestamp with time zone, in UTC."""
    return _moment(raw, "+00")


def time(raw: bytes) -> bytes:
    """Type time without time zone; 24:00:00 is a value."""
    return _clock(int.from_bytes(raw, "big")).encode()


def timetz(raw: bytes) -> bytes:
    """Type time with time zone; the zone is sent as seconds west of UTC."""
    micros, west = struct.unpack(">qi", raw)
    offset = abs(west)
    parts = [offset // 3600, offset // 60 % 60, offset % 60]
    shown = parts[: 3 if parts[2] else 2 if parts[1] else 1]
    return f"{_clock(micros)}{'-' if west > 0 else '+'}{':'.join(f'{part:02d}' for part in shown)}".encode()


def interval(raw: bytes) -> bytes:
    """interval, in IntervalStyle postgres; months, days and time never merge."""
    micros, days, months = struct.unpack(">qii", raw)
    if (micros, days, months) in ((INT64_MAX, INT32_MAX, INT32_MAX), (INT64_MIN, INT32_MIN, INT32_MIN)):
        return b"infinity" if micros > 0 else b"-infinity"
    years, months = (abs(months) // 12, abs(months) % 12) if months >= 0 else (-(-months // 12), -(-months % 12))
    parts: list[str] = []
    was_negative = False
    for number, unit in ((years, "year"), (months, "mon"), (days, "day")):
        if number:
            plus = "+" if was_negative and number > 0 else ""
            parts.append(f"{plus}{number} {unit}{'' if number == 1 else 's'}")
            was_negative = number < 0
    if micros or not parts:
        sign = "-" if micros < 0 else "+" if was_negative else ""
        parts.append(sign + _clock(abs(micros)))
    return " ".join(parts).encode()


def money(raw: bytes) -> bytes:
    """Type money with lc_monetary C."""
    cents = int.from_bytes(raw, "big", signed=True)
    return f"{'-' if cents < 0 else ''}${abs(cents) // 100:,}.{abs(cents) % 100:02d}".encode()


def network(raw: bytes) -> bytes:
    """Type inet and cidr: an inet of a single host hides its prefix length, a cidr shows it always."""
    family, prefix, is_cidr, size = raw[:4]
    address = raw[4 : 4 + size]
    text = str(ipaddress.IPv4Address(address)) if family == 2 else _ipv6(address)
    is_host = prefix == size * 8
    return (text if is_host and not is_cidr else f"{text}/{prefix}").encode()


def _ipv6(address: bytes) -> str:
    is_mapped = address[:10] == bytes(10) and (
        address[10:12] == b"\xff\xff" or (address[10:12] == b"\0\0" and address[12:14] != b"\0\0")
    )
    if not is_mapped:
        return ipaddress.IPv6Address(address).compressed
    return f"::{'ffff:' if address[10] else ''}{ipaddress.IPv4Address(address[12:])}"


def hardware_address(raw: bytes) -> bytes:
    """Type macaddr and macaddr8."""
    return raw.hex(":").encode()


def bits(raw: bytes) -> bytes:
    """Type bit and varbit, as text of 0 and 1."""
    count = int.from_bytes(raw[:4], "big")
    return "".join(f"{byte:08b}" for byte in raw[4:])[:count].encode()
