"""What may stand under `options` of a sink of kind `mysql`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sinks.sink import SecretName


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlSinkOptions:
    """All of them optional.

    `tables`: feed to table name, where <agency>_<table> will not do; `address`: the name of the secret with the database's
    address, the sink's own name if empty; `beside_source`: the database may be one that a mesh captures.
    """

    tables: Mapping[str, str] = field(default_factory=dict[str, str])
    address: SecretName = ""
    beside_source: bool = False
