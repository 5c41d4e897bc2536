"""Wording: every text of the pages, Chinese and English side by side in one catalogue (words.yaml); no page has a text of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from ops.command.terminal import moment

CATALOGUE = Path(__file__).parent.parent / "words.yaml"
LANGUAGES: Mapping[str, str] = {"zh": "zh-CN", "en": "en"}
"""By the word that a browser keeps, what HTML calls it; the first is the one that nobody chose."""
FIRST = next(iter(LANGUAGES))
NONE = "\N{EN DASH}"
"""What stands where there is no value."""
_UNITS = ((86_400, "unit.days"), (3_600, "unit.hours"), (60, "unit.minutes"))


def load_words(path: Path = CATALOGUE) -> Mapping[str, Mapping[str, str]]:
    """Texts by key, then by language. Raises ValueError for a text that is missing in one of them."""
    texts: dict[str, Mapping[str, str]] = {}
    for part, entries in yaml.safe_load(path.read_text("utf-8")).items():
        for name, pair in entries.items():
            if not isinstance(pair, list) or len(pair) != len(LANGUAGES) or not all(pair):
                raise ValueError(f"{path.name}: {part}.{name} is not said in {', '.join(LANGUAGES)}")
            texts[f"{part}.{name}"] = dict(zip(LANGUAGES, map(str, pair), strict=True))
    return texts


@dataclass(frozen=True, slots=True)
class Words:
    """The texts in one language, and figures and times as people write them there."""

    texts: Mapping[str, Mapping[str, str]]
    language: str

    def __call__(self, key: str, **values: Any) -> str:
        """A text, with its values in it. Raises KeyError for one that is not there."""
        return self.texts[key][self.language].format(**values)

    def named(self, part: str, word: Any) -> str:
        """A word of the mesh's own, such as a state, as people say it; itself where the catalogue has none."""
        entry = self.texts.get(f"{part}.{word}")
        return entry[self.language] if entry else str(word)

    @property
    def html(self) -> str:
        """The language as HTML says it."""
        return LANGUAGES[self.language]

    @property
    def other(self) -> str:
        """The language to change to."""
        return next(name for name in LANGUAGES if name != self.language)

    def whole(self, number: float | None) -> str:
        """A count; a dash for none."""
        return NONE if number is None else f"{round(number):,}"

    def rate(self, number: float | None) -> str:
        """So many a second; small ones are not rounded away."""
        if number is None or number == 0:
            return NONE if number is None else "0"
        return f"{number:,.0f}" if number >= 10 else f"{number:.1f}" if number >= 0.05 else "< 0.1"

    def time(self, seconds: float | None) -> str:
        """A duration, in the largest unit of which it has two."""
        if seconds is None:
            return NONE
        for size, unit in _UNITS:
            if seconds >= 2 * size:
                return self(unit, n=f"{seconds / size:,.0f}")
        if seconds < 1:
            return self("unit.milliseconds", n=f"{seconds * 1000:.0f}")
        return self("unit.seconds", n=f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}")

    def ago(self, seconds: float) -> str:
        """How long since something happened; the last seconds are now."""
        return self("unit.just_now") if seconds < 2 else self("unit.ago", n=self.time(seconds))

    def moment(self, at: datetime | str | None) -> str:
        """A time in Shanghai."""
        return moment(datetime.fromisoformat(at) if isinstance(at, str) else at) or NONE
