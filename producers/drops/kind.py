"""Files that are dropped, as a kind of source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from producers.draft import Drafted
from producers.drops.options import DropSourceOptions
from producers.finding import Finding, Provided
from producers.kind import SourceKind
from producers.source import Source, SourceSetting
from producers.stated.place import last_words
from schemas.agreement.agency import SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.contract import Contract


def _open(setting: SourceSetting) -> Source:
    from producers.drops.teller import FileTeller
    from producers.stated.source import open_stated

    options = setting.options(DropSourceOptions)
    return open_stated(
        setting, lambda folder: FileTeller(setting.address, options, setting.name, folder / "files.sqlite")
    )


def _preflight(
    source: SourceConfig, address: str, contracts: Sequence[Contract], _anchors: Mapping[str, Anchor], /, *, name: str
) -> tuple[Sequence[Finding], Mapping[str, Provided]]:
    from producers.drops.preflight import examine

    return examine(source, address, contracts, name=name)


class _FileDrafting:
    """See `producers.draft.Drafting`."""

    what = "folder"
    address = "/srv/drops/police"

    def takes(self, address: str, /) -> bool:
        """See Drafting."""
        return address.startswith(("/", "./", "../", "file://")) or address.lower().endswith(
            (".csv", ".xlsx", ".jsonl")
        )

    def draft(
        self, address: str, names: Sequence[str], agency: str, options: Mapping[str, Any], /, *, is_lossless: bool
    ) -> Drafted:
        """See Drafting."""
        del agency
        from producers.drops.draft import draft

        return draft(address, names, options, is_lossless=is_lossless)


DROPPED_FILES = SourceKind(
    open=_open,
    options=DropSourceOptions,
    preflight=_preflight,
    drafting=_FileDrafting(),
    last=last_words,
    unfenced="compare the file with the feed: `mesh status` says which one is the last, and how many rows it has",
)
