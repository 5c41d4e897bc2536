"""Text in databases whose encoding is not UTF-8, read by us and not by the server.

With another client encoding than its own, a server converts what it sends, and at a single value that does not convert it ends the
whole stream or copy. So such a server is asked for the bytes as it holds them, and the transcoder makes UTF-8 of each value: what
does not convert rejects its own row (PG-35). An SQL_ASCII database says nothing of its text; `text_encoding` among the source's
options does, as it may for EUC_CN, whose databases also hold characters of its successors GBK and GB18030.
"""

from __future__ import annotations

from collections.abc import Callable

from schemas.errors import Misconfigured

OPTIONS = ("gb18030", "gbk", "big5", "utf8")
_MAY_BE_GIVEN_FOR = {"SQL_ASCII": OPTIONS, "EUC_CN": ("gb18030", "gbk")}
_OWN = {
    "SQL_ASCII": "utf-8",
    "EUC_CN": "gb2312",
    "EUC_KR": "euc_kr",
    **{
        f"LATIN{number}": f"iso8859_{part}"
        for number, part in zip(range(1, 11), (1, 2, 3, 4, 9, 10, 13, 14, 15, 16), strict=True)
    },
    **{f"ISO_8859_{part}": f"iso8859_{part}" for part in (5, 6, 7, 8)},
    **{f"WIN{page}": f"cp{page}" for page in (866, 874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)},
    "KOI8R": "koi8_r",
    "KOI8U": "koi8_u",
}
"""Server encodings that we read; text of all others is converted by the server."""


def codec_of(server_encoding: str, text_encoding: str | None, source: str) -> str:
    """Which codec reads the text of such a database; empty where it comes as UTF-8. Raises Misconfigured."""
    if text_encoding is None:
        return _OWN.get(server_encoding, "")
    if text_encoding not in _MAY_BE_GIVEN_FOR.get(server_encoding, ()):
        raise Misconfigured(
            source,
            f"text_encoding is {text_encoding}, but the database's own encoding is {server_encoding}",
            fix="remove text_encoding from the source's options: the database knows how its text is to be read",
        )
    return "utf-8" if text_encoding == "utf8" else text_encoding


def reason_of(codec: str) -> str:
    """The code of a dead letter for text that this codec does not read."""
    return f"not_{codec.replace('-', '')}"


def to_utf8(codec: str) -> Callable[[bytes], bytes]:
    """What makes UTF-8 of a text. It raises UnicodeDecodeError: nothing is replaced, nothing passed on."""

    def convert(raw: bytes) -> bytes:
        return raw if raw.isascii() else raw.decode(codec).encode()

    return convert


def wire_codec(codec: str) -> str:
    """The codec of statements and names on a connection that speaks so."""
    return codec or "utf-8"


def name_in(raw: bytes, codec: str) -> str:
    """A name as the log has it. One that does not convert names nothing that a contract could name."""
    return raw.decode(wire_codec(codec), "backslashreplace")
