"""Pinyin (拼音): Chinese names as people type them on a keyboard, whole and by their first letters."""

from __future__ import annotations

import re
from functools import lru_cache

from pypinyin import Style, lazy_pinyin

_LATIN = re.compile(r"[a-z' ]{2,}")


def is_maybe_pinyin(word: str) -> bool:
    """Whether somebody may mean the sound of a name: it is of Latin letters only."""
    return _LATIN.fullmatch(word.lower()) is not None


@lru_cache(maxsize=4_096)
def sounds(name: str) -> str:
    """A name's syllables without tones and without spaces, then its first letters: `户籍` is `huji hj`."""
    whole = "".join(lazy_pinyin(name, errors="ignore"))
    first = "".join(lazy_pinyin(name, style=Style.FIRST_LETTER, errors="ignore"))
    return f"{whole} {first}"
