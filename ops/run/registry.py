"""The registry as a process."""

from __future__ import annotations

from functools import partial

from ops.onboarding.held_subjects import held_by
from ops.run.parts import Parts
from schemas.registry.server import RegistryServer


def run_registry(parts: Parts) -> None:
    """Serve schemas until the process is to stop."""
    held = partial(held_by, parts.directory())
    RegistryServer(parts.settings.kafka, parts.entrance(), port=parts.port, held_by=held).run(parts.stop)
