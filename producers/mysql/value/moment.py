"""Dates and times: the log's packed forms and the text of a SELECT, as plain numbers.

The server stores dates that no calendar has (`0000-00-00`, a day 0, 31 February): those have no number in Avro.
"""

from __future__ import annotations

from datetime import date

from producers.mysql.value.misfit import NoBranch

Day = tuple[int, int, int]
EPOCH_DAY = date(1970, 1, 1).toordinal()
SECOND_MICROS = 1_000_000
DAY_MICROS = 86_400 * SECOND_MICROS
_FRACTION = {0: 0, 1: 10_000, 2: 100, 3: 1}
"""Bytes of a fraction to microseconds of its unit."""


def digits(declared: str) -> int:
    """Of the fraction of a second, by the column's declaration, such as `datetime(3)`."""
    _, _, rest = declared.partition("(")
    return int(rest[0]) if rest[:1].isdigit() else 0


def date_of(raw: bytes) -> Day:
    """Three bytes: a day of 5 bits, a month of 4, the year."""
    packed = int.from_bytes(raw, "little")
    return packed >> 9, packed >> 5 & 15, packed & 31


def date_in(text: bytes) -> Day:
    """`YYYY-MM-DD`."""
    return int(text[:4]), int(text[5:7]), int(text[8:10])


def datetime_of(raw: bytes) -> tuple[Day, int]:
    """Five bytes: a sign that is always 1, year * 13 + month, day, hour, minute, second; then the fraction."""
    packed = int.from_bytes(raw[:5], "big") - 0x8000000000
    year, month = divmod(packed >> 22, 13)
    seconds = (packed >> 12 & 31) * 3600 + (packed >> 6 & 63) * 60 + (packed & 63)
    micros = int.from_bytes(raw[5:], "big") * _FRACTION[len(raw) - 5]
    return (year, month, packed >> 17 & 31), seconds * SECOND_MICROS + micros


def datetime_in(text: bytes) -> tuple[Day, int]:
    """`YYYY-MM-DD hh:mm:ss[.ffffff]`."""
    return date_in(text), _clock(text[11:])


def timestamp_of(raw: bytes) -> int:
    """Four bytes of seconds since 1970, then the fraction."""
    micros = int.from_bytes(raw[4:], "big") * _FRACTION[len(raw) - 4]
    return int.from_bytes(raw[:4], "big") * SECOND_MICROS + micros


def timestamp_in(text: bytes) -> int:
    """As a datetime, in UTC; the zero date is 0."""
    day, micros = datetime_in(text)
    return 0 if day == (0, 0, 0) else days_of(day) * DAY_MICROS + micros


def time_of(raw: bytes) -> int:
    """Three bytes and the fraction's, as one number around a middle: 10 bits of hours, 6 of minutes, 6 of seconds, fraction."""
    rest = len(raw) - 3
    packed = int.from_bytes(raw, "big") - (0x800000 << 8 * rest)
    size = abs(packed)
    clock, fraction = size >> 8 * rest, size & (1 << 8 * rest) - 1
    seconds = (clock >> 12 & 0x3FF) * 3600 + (clock >> 6 & 63) * 60 + (clock & 63)
    micros = seconds * SECOND_MICROS + fraction * _FRACTION[rest]
    return -micros if packed < 0 else micros


def time_in(text: bytes) -> int:
    """`[-]hh[h]:mm:ss[.ffffff]`."""
    return -_clock(text[1:]) if text.startswith(b"-") else _clock(text)


def _clock(text: bytes) -> int:
    hours, minutes, rest = text.split(b":")
    seconds, _, fraction = rest.partition(b".")
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * SECOND_MICROS + int(fraction.ljust(6, b"0") or b"0")


def days_of(day: Day) -> int:
    """Days since 1970. Raises NoBranch for a date that no calendar has."""
    if day == (0, 0, 0):
        raise NoBranch("date_zero")
    try:
        return date(*day).toordinal() - EPOCH_DAY
    except ValueError:
        raise NoBranch("date_invalid") from None


def date_text(day: Day) -> bytes:
    """As the server prints it."""
    return b"%04d-%02d-%02d" % day


def clock_text(micros: int, places: int) -> bytes:
    """A time of the day, or of more than a day, as the server prints it with so many digits of the fraction."""
    seconds, fraction = divmod(abs(micros), SECOND_MICROS)
    text = b"%02d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60)
    if places:
        text += b"." + (b"%06d" % fraction)[:places]
    return b"-" + text if micros < 0 else text


def datetime_text(value: tuple[Day, int], places: int) -> bytes:
    """As the server prints it."""
    return date_text(value[0]) + b" " + clock_text(value[1], places)


def timestamp_text(micros: int, places: int) -> bytes:
    """As a server in UTC prints it."""
    if micros == 0:
        return datetime_text(((0, 0, 0), 0), places)
    days, rest = divmod(micros, DAY_MICROS)
    day = date.fromordinal(days + EPOCH_DAY)
    return datetime_text(((day.year, day.month, day.day), rest), places)
