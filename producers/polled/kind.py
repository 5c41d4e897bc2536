"""Databases that are polled, as a kind of source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from producers.draft import Drafted
from producers.finding import Finding, Provided
from producers.kind import SourceKind
from producers.polled.options import PolledOptions
from producers.source import Source, SourceSetting
from producers.stated.place import last_words
from schemas.agreement.agency import SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.contract import Contract


def _open(setting: SourceSetting) -> Source:
    from producers.polled.teller import PollTeller
    from producers.stated.source import open_stated

    options = setting.options(PolledOptions)
    return open_stated(setting, lambda _: PollTeller(setting.address, options, setting.name))


def _preflight(
    source: SourceConfig, address: str, contracts: Sequence[Contract], _anchors: Mapping[str, Anchor], /, *, name: str
) -> tuple[Sequence[Finding], Mapping[str, Provided]]:
    from producers.polled.preflight import examine

    return examine(source, address, contracts, name=name)


class _PollDrafting:
    """See `producers.draft.Drafting`."""

    what = "SQLAlchemy"
    address = "sqlite:////srv/police.db"

    def takes(self, address: str, /) -> bool:
        """See Drafting. Kinds with an address of their own are asked before."""
        return "://" in address and not address.startswith(("file:", "mesh:"))

    def draft(
        self, address: str, names: Sequence[str], agency: str, options: Mapping[str, Any], /, *, is_lossless: bool
    ) -> Drafted:
        """See Drafting."""
        from producers.polled.draft import draft

        del agency, options
        return draft(address, names, is_lossless=is_lossless)


POLLED = SourceKind(
    open=_open,
    options=PolledOptions,
    preflight=_preflight,
    drafting=_PollDrafting(),
    last=last_words,
    unfenced="a whole reading compares them, as often as `reconcile_seconds` among its options says: `mesh status` tells the last",
)
