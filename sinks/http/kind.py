"""Webhooks as a kind of sink: changes posted to a subscriber's address, each request signed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.agreement.grant import Grant
from sinks.copy import Copy
from sinks.http.options import PREVIOUS_SIGNING_KEY, SIGNING_KEY, WebhookOptions
from sinks.http.target import parse_url
from sinks.kind import Checked, Secret, SinkKind
from sinks.sink import AnsweringSink, SinkSetup


def _build(setup: SinkSetup) -> AnsweringSink:
    from sinks.http.webhook import build_webhook

    return build_webhook(setup)


def _try(setup: SinkSetup) -> None:
    from sinks.http.webhook import try_webhook

    try_webhook(setup)


def _probe(setup: SinkSetup, _grants: Sequence[Grant]) -> Iterable[Checked]:
    from sinks.http.ping import ping

    return ping(setup)


def _copy(_setup: SinkSetup, _grant: Grant, kept: Path | None) -> Copy | None:
    from sinks.http.copy import WebhookCopy

    return WebhookCopy(log=kept) if kept else None


def _check_address(address: str) -> None:
    parse_url(address)


_SECRETS = (
    Secret(
        name=SIGNING_KEY,
        what="signing key",
        needed_because="so its receiver could not trust it",
        or_option="secret",
        form="whsec_ and 24 to 64 random bytes in base64",
    ),
    Secret(name=PREVIOUS_SIGNING_KEY, what="signing key"),
)

WEBHOOK = SinkKind(
    build=_build,
    options=WebhookOptions,
    secrets=_SECRETS,
    check_address=_check_address,
    trial=_try,
    probe=_probe,
    copy=_copy,
    target="receiver",
)
