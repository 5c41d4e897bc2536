"""Trace: what may be written of an error that nobody foresaw: its kind and the places, never its text.

The text of a KeyError is a key, that of a database's error may quote the whole row, so neither reaches a log, a header or a
page (SK-10). The mesh's own errors are written so that they name no value; they speak for themselves.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from schemas.errors import MeshError

_ROOT = f"{Path(__file__).parent.parent}/"
_PLACES_MAX = 12


def described(error: BaseException) -> str:
    """An error as it may be logged: the words of one of ours; of any other its kind and where it came from."""
    return str(error) if isinstance(error, MeshError) else f"{type(error).__name__} at {places(error)}"


def places(error: BaseException) -> str:
    """Where an error came from: file and line of our calls and of the innermost one, which is the last; and what caused it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames[:-1] if _is_ours(frame.filename)]
    shown = [f"{_short(frame.filename)}:{frame.lineno}" for frame in [*ours[-_PLACES_MAX:], *frames[-1:]]]
    text = " > ".join(shown) or "no place"
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is None or isinstance(error, MeshError):
        return text
    return f"{text}; caused by {type(cause).__name__} at {places(cause)}"


def _is_ours(filename: str) -> bool:
    return filename.startswith(_ROOT) and "site-packages" not in filename


def _short(filename: str) -> str:
    if _is_ours(filename):
        return filename.removeprefix(_ROOT)
    return filename.rpartition("site-packages/")[2].rpartition("/lib/")[2]
