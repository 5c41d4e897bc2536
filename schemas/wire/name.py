"""Names on the wire: what Avro does not allow in a name is escaped there, and there alone (PG-39)."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"_x[0-9A-F]{4,6}_")
_ESCAPE_LIKE = re.compile(r"_x[0-9A-F]")


def avro_name(column: str) -> str:
    """A column's name as an Avro name, reversibly: what Avro does not allow becomes `_x<code point>_`."""
    out: list[str] = []
    for place, character in enumerate(column):
        is_letter = character.isascii() and (character.isalpha() or character == "_")
        is_plain = is_letter or (place > 0 and character.isascii() and character.isdigit())
        if is_plain and not (character == "_" and _ESCAPE_LIKE.match(column, place)):
            out.append(character)
        else:
            out.append(f"_x{ord(character):04X}_")
    return "".join(out)


def column_name(name: str) -> str:
    """The column's name back from its Avro name; a name that only looks as if it were escaped stays as it is."""
    try:
        plain = _ESCAPE.sub(lambda match: chr(int(match[0][2:-1], 16)), name)
        return plain if plain.encode() and avro_name(plain) == name else name
    except (ValueError, OverflowError):  # no character has this number, or none that text can have
        return name
