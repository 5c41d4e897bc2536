"""Addresses: the secrets that one lane asked for, so that one given anew is taken up without a restart."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.errors import Misconfigured
from sinks.sink import AddressOf


class Addresses:
    """An AddressOf that remembers what it gave. The lane asks from its thread, its keeper from another."""

    def __init__(self, address_of: AddressOf) -> None:
        self._address_of = address_of
        self._given: dict[tuple[str, str], str | None] = {}

    def __call__(self, owner: str, name: str) -> str:
        """The secret of that name. Raises Misconfigured without one."""
        self._given[owner, name] = None
        address = self._given[owner, name] = self._address_of(owner, name)
        return address

    def given(self) -> Mapping[str, str | None]:
        """What the lane was given last, by owner and name; None for what there was not."""
        return {f"{owner} {name}": address for (owner, name), address in list(self._given.items())}

    def are_given_anew(self) -> bool:
        """Whether any of them is another now: corrected, rotated, or there at last."""
        return any(self._now(*place) != given for place, given in list(self._given.items()))

    def _now(self, owner: str, name: str) -> str | None:
        try:
            return self._address_of(owner, name)
        except Misconfigured:
            return None
