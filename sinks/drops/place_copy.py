"""Copy of drops elsewhere: the files of a feed are fetched into a folder of this host, and read there like those of a directory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from schemas.agreement.grant import Grant
from schemas.contract import Contract
from sinks.copy import Held
from sinks.drops.copy import FileCopy
from sinks.drops.options import DropOptions
from sinks.drops.place import DropPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCopy:
    """What lies at a place, which `open` opens; `options` say how it is written."""

    open: Callable[[], DropPlace]
    options: DropOptions

    def held(self, grant: Grant, contract: Contract, /) -> Iterator[Held]:
        """See Copy. Raises what the place raises."""
        feed = grant.delivered_as
        with tempfile.TemporaryDirectory(prefix="mesh-drops-") as name:
            directory = Path(name)
            (directory / feed).mkdir()
            with closing(self.open()) as place:
                for file in place.names(feed, feed):  # what is being written begins with a dot
                    content = place.read(feed, file)
                    if content is not None:  # its receiver may have taken it away meanwhile
                        (directory / feed / file).write_bytes(content)
            options = self.options
            copy = FileCopy(directory=directory, format=options.format, escape_formulas=options.escape_formulas)
            yield from copy.held(grant, contract)

    def values_left(self, _grant: Grant, _contract: Contract, /) -> int:
        """See Copy."""
        return 0
