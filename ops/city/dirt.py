"""The dirt of real registers: what clerks, migrations and input methods leave in columns."""

from __future__ import annotations

from random import Random

_TRADITIONAL = str.maketrans(
    "陈黄张吴刘杨许郑谢庄吕罗萧简钟卢颜孙范邓马欧阳国华东伟军龙杰锋轩刚丽凤",
    "陳黃張吳劉楊許鄭謝莊呂羅蕭簡鍾盧顏孫範鄧馬歐陽國華東偉軍龍傑鋒軒剛麗鳳",
)


def full_width(text: str) -> str:
    """ASCII letters and digits as an input method in Chinese mode writes them."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def wrong_check(number: str) -> str:
    """The number with another last character, still a digit: as if copied wrongly."""
    return number[:-1] + str((int(number[-1]) + 1) % 10 if number[-1].isdigit() else 0)


def variant(rng: Random, name: str) -> str:
    """The name as another register writes it: traditional characters, a space, or a full-width one."""
    choice = rng.random()
    if choice < 0.4:
        return name.translate(_TRADITIONAL)
    return f"{name[0]} {name[1:]}" if choice < 0.7 else f"{name[0]}\u3000{name[1:]}"


def trailing(rng: Random, text: str) -> str:
    """The text with what a fixed-width export left behind it."""
    return text + rng.choice((" ", "  ", "\u3000", "\t"))


def name(rng: Random, text: str, share: float = 0.01) -> str:
    """The name, or with the given probability a variant or one with trailing space."""
    chance = rng.random()
    if chance >= share:
        return text
    return variant(rng, text) if chance < share * 0.6 else trailing(rng, text)
