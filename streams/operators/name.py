"""Name (姓名、名称): how names of different registers are compared. For comparing only: what is stored stays byte for byte.

`comparable` is the normal form of HANDBOOK §2.5: NFKC, no spaces, one middle dot, traditional characters simplified.
`loose` goes further, for a variant spelling (tier P2): variant characters (异体字) and the case of Latin letters are one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

_SIMPLIFIED = Path(__file__).with_name("simplified.txt")
_MIDDLE_DOT = "\u00b7"
_DOTS = "\u00b7\u2022\u2027\u30fb\uff0e"
# Variant characters of the list of 1955 (第一批异体字整理表) that names use; some are standard in names since 2013.
_VARIANTS = "峯峰 羣群 昇升 陞升 堃坤 喆哲 濬浚 甦苏 淼渺 邨村 珪圭 仝同 祐佑 犇奔 崑昆 崐昆 煇辉 勣绩 迺乃 谿溪 脩修"


@cache
def _to_simplified() -> dict[int, str]:
    pairs = [
        pair
        for line in _SIMPLIFIED.read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
        for pair in line.split()
    ]
    return {ord(pair[0]): pair[1] for pair in pairs}


@cache
def _to_common() -> dict[int, str]:
    return {ord(pair[0]): pair[1] for pair in _VARIANTS.split()}


@lru_cache(maxsize=100_000)
def comparable(name: str) -> str:
    """The normal form of a name, for comparing. Two names are normally equal if and only if their forms are."""
    # The full-width stop U+FF0E is a middle dot here, and NFKC would make an ordinary stop of it.
    dotted = name.translate(dict.fromkeys(map(ord, _DOTS), _MIDDLE_DOT))
    plain = unicodedata.normalize("NFKC", dotted).translate(dict.fromkeys(map(ord, _DOTS), _MIDDLE_DOT))
    return "".join(plain.split()).translate(_to_simplified())


def loose(name: str) -> str:
    """The form under which variant spellings of one name are equal."""
    return comparable(name).translate(_to_common()).replace(_MIDDLE_DOT, "").casefold()


def is_alias(name: str, known: Iterable[str]) -> bool:
    """Whether a name is one of the known ones (former names too) or a variant spelling of one (tier P2, `ALIAS`)."""
    form = loose(name)
    return any(loose(other) == form for other in known)
