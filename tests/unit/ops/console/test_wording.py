"""What is said on the pages: all of it in both languages, from one catalogue, and nothing in a template itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest

from ops.console.frame.page import HERE, STATIC, THEMES, within_site
from ops.console.frame.wording import FIRST, LANGUAGES, NONE, Words, load_words
from ops.opendata.portal.site import SITE
from schemas.agreement.grant import Status
from schemas.guard.caller import Role
from schemas.incident import Kind, State

TEXTS = load_words()
ROOMS = {HERE: TEXTS, SITE.folder: load_words(SITE.folder / "words.yaml")}
"""The texts of a room's own, by its folder; its pages may say those of the console as well, whose frame they have."""
TEMPLATES = sorted(path for room in ROOMS for path in (room / "templates").glob("*.html"))
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_page_says_nothing_but_what_the_catalogue_has(path: Path) -> None:
    text = path.read_text("utf-8")
    asked = set(re.findall(r"""\bt\(["']([\w.]+)["'][,)]""", text))
    assert not asked - TEXTS.keys() - ROOMS[path.parent.parent].keys(), "words.yaml has no such text"
    assert not CHINESE.search(text), "a text stands in the template itself"
    bare = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}|<[^>]*>", " ", text, flags=re.DOTALL)
    words = re.findall(r"[A-Za-z]{3,}", bare)
    assert set(words) <= {"pearlmesh", "html", "doctype"}, "a text stands in the template itself"
    assert " style=" not in text, "the policy forbids styles within a page"
    assert not re.search(r"<script(?![^>]*\ssrc=)", text), "the policy forbids scripts within a page"


@pytest.mark.parametrize("texts", ROOMS.values(), ids=[room.name for room in ROOMS])
def test_every_text_is_said_in_both_languages_with_the_same_values(texts: Mapping[str, Mapping[str, str]]) -> None:
    for key, pair in texts.items():
        assert pair.keys() == LANGUAGES.keys()
        values = {language: set(re.findall(r"{(\w+)}", text)) for language, text in pair.items()}
        assert len({frozenset(names) for names in values.values()}) == 1, f"{key}: {values}"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_text_is_used(room: Path) -> None:
    used = " ".join(path.read_text("utf-8") for path in [*TEMPLATES, *room.rglob("*.py")])
    parts = {key.partition(".")[0] for key in ROOMS[room] if f'"{key}"' not in used and f"'{key}'" not in used}
    composed = {part for part in parts if f'"{part}.' in used or f'named("{part}"' in used or f'f"{part}.' in used}
    assert not parts - composed, "nobody says these any more"


def test_what_the_mesh_calls_things_has_a_word_for_people() -> None:
    for part, words in {
        "role": Role,
        "state": [*Status, *get_args(State)],
        "kind": get_args(Kind),
        "theme": THEMES,
    }.items():
        missing = [word for word in words if f"{part}.{word}" not in TEXTS]
        assert not missing, part


def test_figures_and_times_read_as_people_write_them() -> None:
    zh, en = Words(TEXTS, FIRST), Words(TEXTS, "en")
    assert [en.time(seconds) for seconds in (None, 0.25, 3.14, 59, 119, 7_200, 200_000)] == [
        NONE,
        "250 ms",
        "3.1 s",
        "59 s",
        "119 s",
        "2 h",
        "2 d",
    ]
    assert zh.time(180) == "3 分钟"
    assert (zh.ago(0.4), en.ago(90)) == ("刚刚", "90 s ago")
    assert (en.whole(1234567), en.whole(None), en.rate(0.25), en.rate(1234.4)) == ("1,234,567", NONE, "0.2", "1,234")
    assert [en.rate(number) for number in (0, 0.01, 12.3)] == ["0", "< 0.1", "12"]
    assert zh.moment("2026-03-01T00:00:00+00:00") == "2026-03-01 08:00:00"
    assert (zh.named("state", "ok"), zh.named("state", "a word of another version")) == (
        "正常",
        "a word of another version",
    )


def test_no_room_says_a_text_of_another_anew() -> None:
    assert not TEXTS.keys() & ROOMS[SITE.folder].keys()


def test_a_text_in_one_language_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("home: {title: [总览]}", "utf-8")
    with pytest.raises(ValueError, match=r"home\.title"):
        load_words(path)


@pytest.mark.parametrize("address", ["https://elsewhere.example", "//elsewhere.example", "/\\elsewhere", "", "/a\nb"])
def test_nobody_is_led_to_another_server(address: str) -> None:
    assert within_site(address) == "/"
    assert within_site("/catalogue?q=x") == "/catalogue?q=x"


def test_what_others_wrote_is_served_with_its_licence() -> None:
    named = (HERE / "static" / "LICENSE.txt").read_text()
    assert all(name in named for name in STATIC if name.endswith(".min.js"))
