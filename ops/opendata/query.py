"""Query: what a caller asks behind the `?`. A name that nobody knows is refused: a typing error must not widen an answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ops.opendata.refusal import Refusal


class Query:
    """The parameters of one request. Take what the answer knows, then `rest`. Raises Refusal for what cannot be meant."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        self._known: list[str] = []
        for name, value in pairs:
            if name in self._values:
                fix = "ask once for each value"
                raise Refusal(400, "a parameter is given twice", why="all parameters must hold at once", fix=fix)
            self._values[name] = value

    def text(self, name: str, default: str = "") -> str:
        """A parameter's text."""
        self._known.append(name)
        return self._values.pop(name, default)

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """A parameter's whole number."""
        text = self.text(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            fix = f"write {name}={default}, or leave it out"
            raise Refusal(400, f"{name} cannot be taken", why=f"it is a whole number from {least} to {most}", fix=fix)
        return int(text)

    def one_of(self, name: str, choices: Collection[str], default: str) -> str:
        """A parameter with few values."""
        text = self.text(name, default)
        if text not in choices:
            fix = f"write {' or '.join(f'{name}={choice}' for choice in choices)}"
            raise Refusal(400, f"{name} cannot be taken", why="it has no such value", fix=fix)
        return text

    def rest(self, columns: Collection[str] = ()) -> list[tuple[str, str]]:
        """The parameters that are left: each names one of the columns."""
        if unknown := self._values.keys() - set(columns):
            why = "no column or parameter of that name is published here"
            fix = f"ask by {', '.join([*self._known, *columns]) or 'the address alone'}"
            raise Refusal(400, f"{len(unknown)} parameter(s) cannot be taken", why=why, fix=fix)
        return list(self._values.items())
