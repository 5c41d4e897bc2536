"""Character sets of columns: how their bytes become UTF-8, strictly. One that is not listed is refused at check.

Listed are those of which every text was found to be what the server itself makes of it.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

Decode = Callable[[bytes], bytes]

_LATIN1: Any = "".join(
    chr(code) if code in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes((code,)).decode("cp1252") for code in range(256)
)
"""The server's latin1 is cp1252, its five gaps as they are."""

_CODECS = {
    "ascii": "ascii",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp1257": "cp1257",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "koi8r": "koi8-r",
}


def charset_decoder(charset: str) -> Decode | None:
    """How text in a character set becomes UTF-8; raises UnicodeDecodeError for bytes that are none. None if we do not read it."""
    if charset in ("utf8mb4", "utf8mb3", "utf8"):
        return _checked
    if charset == "latin1":
        return _latin1
    codec = _CODECS.get(charset)
    return None if codec is None else _by(codec)


def _checked(raw: bytes) -> bytes:
    if not raw.isascii():
        raw.decode()
    return raw


def _latin1(raw: bytes) -> bytes:
    return raw if raw.isascii() else codecs.charmap_decode(raw, "strict", _LATIN1)[0].encode()


def _by(codec: str) -> Decode:
    decode = codecs.getdecoder(codec)
    return lambda raw: decode(raw, "strict")[0].encode()
