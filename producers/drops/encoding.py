"""What a file's text is in: found out over the whole file, strictly, and said. Nothing is decoded with replacements (FD-06).

A byte order mark decides. Otherwise text that is UTF-8 from end to end is UTF-8 (text in GBK almost never is), and what is not is
GB18030 if that reads all of it: it holds GBK and GB2312. Characters of the private use area in a file whose encoding was only found
out are a sign that it is neither.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from producers.stated.staging import Refused
from schemas.errors import Transient

PIECE = 1 << 20
_NAMES = {"utf8": "utf-8-sig", "gb18030": "gb18030"}
_OTHERS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
_LOST = re.compile("[\0\ufffd]")
_PRIVATE = re.compile("[\ue000-\uf8ff]")


class TextScan:
    """One reading of a file for its sum and its encoding: `sha256` and `encoding` once `pieces` has ended."""

    def __init__(self, path: Path, subject: str, declared: str) -> None:
        self._path, self._subject, self._declared = path, subject, declared
        self.sha256 = ""
        self.encoding = ""

    def pieces(self, *, is_text: bool) -> Iterator[None]:
        """Read all of it, and say so now and then. Raises Refused for text in no encoding that is read here, Transient."""
        digest, begin = hashlib.sha256(), b""
        for piece in self._read():
            begin = begin or piece[:4]
            digest.update(piece)
            yield
        self.sha256 = digest.hexdigest()
        if is_text:
            yield from self._find(begin)

    def _find(self, begin: bytes) -> Iterator[None]:
        if other := next((name for mark, name in _OTHERS.items() if begin.startswith(mark)), None):
            raise Refused(self._subject, f"its text is {other}", fix="let the sender save it as UTF-8 or GB18030")
        if begin.startswith(codecs.BOM_UTF8):
            names = ("utf8",)
        else:
            names = ("utf8", "gb18030") if self._declared == "auto" else (self._declared,)
        what = ""
        for name in names:
            trial = _Trial(_NAMES[name], is_guess=self._declared == "auto" and name == "gb18030")
            for piece in self._read():
                if not trial.takes(piece):
                    break
                yield
            else:
                if trial.takes(b"", final=True):
                    self.encoding = _NAMES[name]
                    return
            what = trial.why or f"is not {' nor '.join(names)} (byte {trial.at:,})"
            if trial.why:
                break
        fix = "let the sender save it as UTF-8; or say `encoding` among the source's options, where it is known"
        raise Refused(self._subject, what, fix=fix)

    def _read(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece
        except OSError as error:
            raise Transient(f"{self._subject} cannot be read: {error.strerror}", fix="let capture read it") from error


class _Trial:
    """Whether an encoding reads all of a file."""

    def __init__(self, name: str, *, is_guess: bool) -> None:
        self._decoder = codecs.getincrementaldecoder(name)("strict")
        self._is_guess = is_guess
        self.at = 0
        self.why = ""

    def takes(self, piece: bytes, *, final: bool = False) -> bool:
        try:
            text = self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            self.at += error.start
            return False
        if _LOST.search(text):
            self.why = "holds characters that were lost already (U+FFFD or NUL)"
        elif self._is_guess and _PRIVATE.search(text):
            self.why = "holds private characters in what may be GB18030 or something else"
        self.at += len(piece)
        return not self.why
