"""PostgreSQL's binary values as PostgreSQL's own text, byte for byte.

Needed where a contract keeps a value as `string`: types without an Avro counterpart, and values that the typed branch of a
lossless column cannot hold (FIELD-NOTES §1.4). Text is what the server prints with the settings of our connections
(DateStyle ISO, IntervalStyle postgres, TimeZone UTC, lc_monetary C, extra_float_digits 1; PG-21). The broker test
compares every function here with the real database.
"""

from __future__ import annotations

import ipaddress
import math
import struct
from collections.abc import Callable
from datetime import date, timedelta
from fractions import Fraction

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
    """jsonb, ltree: one version byte, then text."""
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


def float4(raw: bytes) -> bytes:
    """Type float4, shortest digits that read back to the same value."""
    return _float(raw, ">f", ">I", 6)


def float8(raw: bytes) -> bytes:
    """Type float8, shortest digits that read back to the same value."""
    return _float(raw, ">d", ">Q", 15)


def _shortest(raw: bytes, code: str, bits: str) -> str:
    """The fewest digits strictly within half a step of the value.

    Unlike Python, the server never prints a number that lies exactly half way to a neighbour.
    """
    (value,), (pattern,) = struct.unpack(code, raw), struct.unpack(bits, raw)
    magnitude = pattern & ~(1 << (8 * len(raw) - 1))
    if magnitude == 0:
        return f"{value:e}"
    exact, below = (Fraction(struct.unpack(code, struct.pack(bits, n))[0]) for n in (magnitude, magnitude - 1))
    above = struct.unpack(code, struct.pack(bits, magnitude + 1))[0]
    upper = Fraction(above) if math.isfinite(above) else 2 * exact - below
    candidates = (f"{abs(value):.{places}e}" for places in range(17))
    text = next(text for text in candidates if exact + below < 2 * Fraction(text) < exact + upper)
    return f"-{text}" if value < 0 else text


def _float(raw: bytes, code: str, bits: str, fixed_below: int) -> bytes:
    (value,) = struct.unpack(code, raw)
    if math.isnan(value):
        return b"NaN"
    if math.isinf(value):
        return b"Infinity" if value > 0 else b"-Infinity"
    return _digits(_shortest(raw, code, bits), fixed_below).encode()


def _digits(shortest: str, fixed_below: int) -> str:
    sign = "-" if shortest.startswith("-") else ""
    mantissa, _, exponent_text = shortest.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent_text or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        return f"{sign}0"
    if not -4 <= point - 1 < fixed_below:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if point <= 0 else '+'}{abs(point - 1):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    return f"{sign}{digits[:point]}.{digits[point:]}"


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


def array_of(element: Text, delimiter: str = ",") -> Text:
    """The literal of an array whose elements print as `element` does."""
    special = frozenset(f'{{}}"\\ \t\n\r\v\f{delimiter}'.encode())

    def quoted(raw: bytes) -> bytes:
        text = element(raw)
        if text and text.upper() != b"NULL" and not special.intersection(text):
            return text
        return b'"%b"' % text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')

    def literal(raw: bytes) -> bytes:
        shape, elements = array_parts(raw)
        if not shape:
            return b"{}"
        items = [b"NULL" if item is None else quoted(item) for item in elements]
        for size, _ in reversed(shape):
            items = [
                b"{%b}" % delimiter.encode().join(items[start : start + size]) for start in range(0, len(items), size)
            ]
        bounds = "".join(f"[{lower}:{lower + size - 1}]" for size, lower in shape)
        is_plain = all(lower == 1 for _, lower in shape)
        return items[0] if is_plain else bounds.encode() + b"=" + items[0]

    return literal


def array_parts(raw: bytes) -> tuple[list[tuple[int, int]], list[bytes | None]]:
    """Dimensions as (size, lower bound), and the elements in storage order."""
    (dimensions,) = struct.unpack_from(">i", raw)
    at = 12
    shape: list[tuple[int, int]] = []
    for _ in range(dimensions):
        shape.append(struct.unpack_from(">ii", raw, at))
        at += 8
    elements: list[bytes | None] = []
    while at < len(raw):
        (size,) = struct.unpack_from(">i", raw, at)
        at += 4
        if size < 0:
            elements.append(None)
        else:
            elements.append(raw[at : at + size])
            at += size
    return shape, elements


TEXT: dict[str, Text] = {
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "json", "xml", "citext", "unknown", "aclitem"), verbatim),
    **dict.fromkeys(("int2", "int4", "int8"), integer),
    **dict.fromkeys(("oid", "xid", "cid", "xid8"), unsigned),
    **dict.fromkeys(("jsonb", "ltree", "lquery"), versioned),
    **dict.fromkeys(("inet", "cidr"), network),
    **dict.fromkeys(("macaddr", "macaddr8"), hardware_address),
    **dict.fromkeys(("bit", "varbit"), bits),
    "bool": boolean,
    "char": single_char,
    "bytea": byte_array,
    "uuid": uuid,
    "pg_lsn": lsn,
    "numeric": numeric,
    "float4": float4,
    "float8": float8,
    "date": day,
    "timestamp": timestamp,
    "timestamptz": timestamptz,
    "time": time,
    "timetz": timetz,
    "interval": interval,
    "money": money,
}
"""From a type's name to its text; what is not here has no mapping and is refused at onboarding."""
