"""What departments push, as a kind of source."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from producers.draft import Drafted
from producers.finding import Finding, Provided
from producers.kind import SourceKind
from producers.pushed.options import PushOptions
from producers.source import Source, SourceSetting
from producers.stated.place import last_words
from schemas.agreement.agency import SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.contract import Contract


def _open(setting: SourceSetting) -> Source:
    from producers.pushed.teller import open_pushed

    return open_pushed(setting)


def _preflight(
    source: SourceConfig, address: str, contracts: Sequence[Contract], _anchors: Mapping[str, Anchor], /, *, name: str
) -> tuple[Sequence[Finding], Mapping[str, Provided]]:
    from producers.pushed.preflight import examine

    return examine(source, address, contracts, name=name)


def sending(connection: str, feed: str, file: str) -> str:
    """The command that sends a file of rows. Its key is the file's time: sent again it is the same batch, written again another."""
    quoted = shlex.quote(file)
    return (
        "curl --fail-with-body --retry 9 --retry-connrefused "
        '-H "Authorization: Bearer $MESH_TOKEN" -H "Content-Type: application/x-ndjson" '
        f'-H "Idempotency-Key: $(date -r {quoted} +%s%N)" --data-binary @{quoted} "{connection}/v1/feeds/{feed}/rows"'
    )


class _PushDrafting:
    """See `producers.draft.Drafting`."""

    what = "push"
    address = "push:resident.jsonl"

    def takes(self, address: str, /) -> bool:
        """See Drafting. A sample of rows without the word before it may be a file that is dropped."""
        return address.startswith("push:") or address.lower().endswith(".schema.json")

    def draft(
        self, address: str, names: Sequence[str], agency: str, options: Mapping[str, Any], /, *, is_lossless: bool
    ) -> Drafted:
        """See Drafting."""
        del agency, names, options
        from producers.pushed.draft import draft

        return draft(address.removeprefix("push:"), is_lossless=is_lossless)


PUSHED = SourceKind(
    open=_open,
    options=PushOptions,
    preflight=_preflight,
    drafting=_PushDrafting(),
    last=last_words,
    sending=sending,
    unfenced="let the department send the whole table by `?mode=full`: what differs becomes changes, `mesh tail FEED` shows them",
)
