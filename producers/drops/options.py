"""What may stand under `options` of a source of kind `files`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from schemas.form import Between, Bytes, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSourceOptions:
    """All of them optional.

    `mode`: each file states the whole table (`full`: what it does not name is deleted), or it lists changes (`changes`), with what
    becomes of the row in column `op_column` (c, u or d; without that column every row is written). `settled_by`: a file is read once
    it stood `still` for `settled_seconds`, or once `<its name>.done` is there. `look_seconds`: how often the folder is looked at.
    `encoding`, `delimiter`, `null_text` (what an empty cell holds) and `time_zone` (of moments without one) say how text is read.
    `delete_share_max`: a file that would delete a larger share of the rows waits until its token stands in `accept`;
    `bad_share_max`: one of which a larger share cannot be read is refused; `bytes_max`: so is a larger one. `expected_seconds`: how
    long after a file the next one should come.
    """

    mode: Literal["full", "changes"] = "full"
    op_column: str = "op"
    settled_by: Literal["still", "done"] = "still"
    settled_seconds: Annotated[Seconds, Between(0)] = 10.0
    look_seconds: Annotated[Seconds, Between(0.1)] = 2.0
    encoding: Literal["auto", "utf8", "gb18030"] = "auto"
    delimiter: Literal[",", ";", "|", "tab"] = ","
    null_text: str = ""
    time_zone: str = "Asia/Shanghai"
    delete_share_max: Annotated[float, Between(0, 1)] = 0.2
    bad_share_max: Annotated[float, Between(0, 1)] = 0.05
    accept: tuple[str, ...] = ()
    bytes_max: Annotated[Bytes, Between(1)] = 16 << 30
    expected_seconds: Annotated[Seconds, Between(1)] | None = None
