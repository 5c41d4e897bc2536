"""Addresses during an onboarding: as its folders say, else as the mesh keeps them from an earlier one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ops.kinds.sinks import secrets_of
from ops.lint.folder import Folder, SubscriberFolder, resolved
from ops.settings import Connections
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured


def save_secrets(
    kept: Connections, sink: SinkConfig, folder: SubscriberFolder, given: Callable[[str, str], str]
) -> None:
    """Keep what a sink has beside its connection where the sink reads it; what the folder no longer names is over."""
    code = folder.subscriber.subscriber
    names = {f"{sink.name}.{secret}" for secret in secrets_of(sink.kind)}
    written = names & folder.connections.keys()
    for name in written:
        kept.save(code, name, given(code, name))
    for name in names - written if written else ():
        kept.remove(code, name)


class GivenAddresses:
    """The addresses of one side, by owner and name. Raises Misconfigured for one that nobody gave."""

    def __init__(self, kept: Connections, content: Folder) -> None:
        self._kept = kept
        self._written: dict[tuple[str, str], str] = {}
        sides: Mapping[str, list[tuple[str, Mapping[str, str]]]] = {
            "source": [(folder.agency.agency, folder.connections) for folder in content.agencies],
            "sink": [(folder.subscriber.subscriber, folder.connections) for folder in content.subscribers],
        }
        for owner, connections in sides[kept.side]:
            self._written.update({(owner, name): connection for name, connection in connections.items()})

    def __call__(self, owner: str, name: str) -> str:
        """The address; of a connection that the environment lacks, what is kept."""
        if (owner, name) not in self._written:
            return self._kept.address_of(owner, name)
        try:
            return resolved(self._written[owner, name], os.environ, f"{owner}.{name}")
        except Misconfigured as missing:
            try:
                return self._kept.address_of(owner, name)
            except Misconfigured:
                raise missing from None
