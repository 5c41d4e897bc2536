"""Kinds of sources and sinks as `mesh check` knows them: the form of each one's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from producers.postgres_options import PostgresOptions as PostgresSourceOptions
from schemas.agency import FLOW
from schemas.anchor import MESH, AnchorOptions
from schemas.form import NoOptions
from sinks.files_options import FilesOptions
from sinks.postgres_options import PostgresOptions as PostgresSinkOptions
from sinks.webhook_options import WebhookOptions

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
