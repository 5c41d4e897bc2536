"""Statements in the log: which of them end a transaction, empty a table, change what it is, or change rows unread.

No parser of SQL (MY-13): the first words and the names of tables. What is not recognised and names a captured table has its table
looked at (producers/mysql/verdict.py); what changes rows as a statement stops the feeds, since the rows are not told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"", re.DOTALL)
_COMMENT = re.compile(r"/\*(?![!M]).*?\*/|--[ \t][^\n]*|#[^\n]*", re.DOTALL)
_VERSIONED = re.compile(r"/\*M?!\d*|\*/")
_TOKEN = re.compile(r"`(?:[^`]|``)*`|[\w$\u0080-\uffff]+|[.,();=]")
_CHANGING = frozenset({"insert", "update", "delete", "replace", "load", "call", "with", "do"})
_BOUNDS = frozenset({"begin", "commit", "rollback", "savepoint", "release", "xa", "start"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStatement:
    """What a statement does. `verb` is its first word; tables are `<database>.<table>`.

    `emptied` are tables that it truncates, `ended` those that it drops, `moved` pairs of a table and its new name, `made` those that
    it creates; `words` are all names and words in it, in lower case.
    """

    verb: str
    words: frozenset[str]
    emptied: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = ()
    made: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    ended_database: str = ""
    shifts_partitions: bool = False

    @property
    def changes_rows(self) -> bool:
        """Whether it changes rows that the log does not tell."""
        return self.verb in _CHANGING

    @property
    def is_bound(self) -> bool:
        """Whether it begins or ends a transaction, or a part of one."""
        return self.verb in _BOUNDS


def statement(text: str, database: str) -> LogStatement:
    """Read a statement of a session whose default database is this."""
    plain = _VERSIONED.sub(" ", _COMMENT.sub(" ", _QUOTED.sub(" ''", text)))
    tokens = [_plain(token) for token in _TOKEN.findall(plain)]
    lowered = [token.lower() for token in tokens]
    if not tokens:
        return LogStatement(verb="", words=frozenset())
    return _Words(tokens, lowered, database).read()


def _plain(token: str) -> str:
    return token[1:-1].replace("``", "`") if token.startswith("`") else token


class _Words:
    """A statement's words, read once."""

    def __init__(self, tokens: list[str], lowered: list[str], database: str) -> None:
        self._tokens, self._lowered, self._database = tokens, lowered, database
        self._at = 0

    def read(self) -> LogStatement:
        words = frozenset(self._lowered)
        verb = self._lowered[0]
        self._at = 1
        if verb == "truncate":
            self._skip("table")
            return LogStatement(verb=verb, words=words, emptied=(self._name(),))
        if verb == "drop":
            return self._drop(words)
        if verb == "rename" and self._skip("table", "tables"):
            self._skip_all("if", "exists")
            return LogStatement(verb=verb, words=words, moved=tuple(self._moves()))
        if verb == "create":
            self._skip_all("or", "replace")
            if self._lowered[self._at : self._at + 1] == ["table"]:
                self._at += 1
                self._skip_all("if", "not", "exists")
                return LogStatement(verb=verb, words=words, made=(self._name(),))
        if verb == "alter":
            self._skip_all("online", "ignore")
            if self._skip("table"):
                self._skip_all("if", "exists")
                return self._alter(words)
        return LogStatement(verb=verb, words=words)

    def _drop(self, words: frozenset[str]) -> LogStatement:
        if self._skip("database", "schema"):
            self._skip_all("if", "exists")
            gone = self._tokens[self._at] if self._at < len(self._tokens) else ""
            return LogStatement(verb="drop", words=words, ended_database=gone)
        if not self._skip("table", "tables"):
            return LogStatement(verb="drop", words=words)
        self._skip_all("if", "exists")
        names = [self._name()]
        while self._skip(","):
            names.append(self._name())
        return LogStatement(verb="drop", words=words, ended=tuple(names))

    def _alter(self, words: frozenset[str]) -> LogStatement:
        name = self._name()
        moved: list[tuple[str, str]] = []
        lowered = self._lowered
        for place in range(self._at, len(lowered) - 1):
            if lowered[place] == "rename" and lowered[place + 1] not in {"column", "index", "key"}:
                self._at = place + 1
                self._skip("to", "as", "=")
                moved.append((name, self._name()))
                break
        shifts = bool(words & {"partition", "tablespace", "partitioning"})
        return LogStatement(verb="alter", words=words, altered=(name,), moved=tuple(moved), shifts_partitions=shifts)

    def _moves(self) -> Iterator[tuple[str, str]]:
        while self._at < len(self._tokens):
            former = self._name()
            while self._at < len(self._tokens) and self._lowered[self._at] != "to":
                self._at += 1
            self._at += 1
            yield former, self._name()
            if not self._skip(","):
                return

    def _skip(self, *words: str) -> bool:
        if self._at < len(self._lowered) and self._lowered[self._at] in words:
            self._at += 1
            return True
        return False

    def _skip_all(self, *words: str) -> None:
        while self._skip(*words):
            pass

    def _name(self) -> str:
        """The name of a table here, and go behind it."""
        if self._at >= len(self._tokens):
            return ""
        first = self._tokens[self._at]
        self._at += 1
        if self._tokens[self._at : self._at + 1] == ["."] and self._at + 1 < len(self._tokens):
            second = self._tokens[self._at + 1]
            self._at += 2
            return f"{first}.{second}"
        return f"{self._database}.{first}"
