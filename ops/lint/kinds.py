"""Kinds of sources and sinks as `mesh check` knows them: the form of each one's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from producers.postgresql.options import PostgresOptions as PostgresSourceOptions
from schemas.agreement.agency import FLOW
from schemas.agreement.anchor import MESH, AnchorOptions
from schemas.form import NoOptions
from sinks.drops.options import FilesOptions
from sinks.http.options import WebhookOptions
from sinks.postgresql.options import PostgresOptions as PostgresSinkOptions

SOURCE_OPTIONS: Mapping[str, type[Any]] = {
    "postgres": PostgresSourceOptions,
    MESH: AnchorOptions,
    FLOW: NoOptions,
}
SINK_OPTIONS: Mapping[str, type[Any]] = {
    "postgres": PostgresSinkOptions,
    "webhook": WebhookOptions,
    "files": FilesOptions,
    MESH: AnchorOptions,
}
