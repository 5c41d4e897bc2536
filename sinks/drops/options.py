"""What may stand under `options` of every sink that drops files, and of kind `files`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from schemas.form import Between, Bytes, Seconds
from sinks.sink import SecretName


@dataclass(frozen=True, slots=True, kw_only=True)
class DropOptions:
    """What files hold and when, wherever they go. All of them optional.

    `every_seconds`: how long a drop grows; `bytes_max`: of changes per drop. For CSV: `bom` begins each file with a byte order
    mark, without which Excel takes Chinese for another encoding; `escape_formulas` puts an apostrophe before text that a
    spreadsheet would run (sinks/drops/format.py).
    """

    format: Literal["jsonl", "csv", "parquet"] = "jsonl"
    every_seconds: Annotated[Seconds, Between(0)] = 60.0
    bytes_max: Annotated[Bytes, Between(1)] = 16_000_000
    bom: bool = False
    escape_formulas: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesOptions(DropOptions):
    """All of them optional.

    `path`: the name of the secret with the directory, the sink's own name if empty. `readable_by` lets a receiver under another
    user read what is dropped from then on, and `group` names the group, where it is not the one that the directory or this user
    gives. Whoever takes files away needs the right to write in their folder besides.
    """

    path: SecretName = ""
    readable_by: Literal["owner", "group", "everyone"] = "owner"
    group: str = ""
