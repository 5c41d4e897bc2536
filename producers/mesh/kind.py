"""Another mesh as a kind of source: the feeds that it grants us, as long as its anchor is here (HANDBOOK A10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from producers.finding import Finding, Provided
from producers.kind import SourceKind
from producers.source import Source, SourceSetting
from schemas.agreement.agency import SourceConfig
from schemas.agreement.anchor import Anchor, AnchorOptions
from schemas.contract import Contract


def _open(setting: SourceSetting) -> Source:
    from producers.mesh.source import PeerSource

    return PeerSource(setting)


def _preflight(
    source: SourceConfig, address: str, contracts: Sequence[Contract], anchors: Mapping[str, Anchor], /, *, name: str
) -> tuple[Sequence[Finding], Mapping[str, Provided]]:
    from producers.mesh.preflight import examine

    return examine(source, address, contracts, anchors, name=name)


def _whole_row_fix(topic: str) -> str:
    return f"let the other mesh's people see that the table behind {topic} sends rows as they were;"


PEER = SourceKind(
    open=_open,
    options=AnchorOptions,
    preflight=_preflight,
    whole_row_fix=_whole_row_fix,
    copies_feeds_alone=False,
    unfenced="let the people of the other mesh verify it there, with the table; `mesh ledger` compares what came here",
)
