"""What may stand under `options` of a sink of kind `webhook`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from schemas.errors import Misconfigured
from schemas.form import Between, Seconds, Written
from sinks.http.target import parse_url
from sinks.network import NETWORKS
from sinks.sink import SecretName

SIGNING_KEY = "signing_key"
PREVIOUS_SIGNING_KEY = "previous_signing_key"
SCHEDULE_SECONDS = (1.0, 5.0, 30.0, 60.0, 300.0)


def _url(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one question: can it be read
    try:
        parse_url(value)
    except Misconfigured as error:
        raise ValueError(error.problem) from error
    return value


def _operators_only(_value: Any) -> None:
    raise ValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """All of them optional.

    `url`: instead of a connection. `secret`: the name of a kept signing key, instead of `signing_key`. `batch_max`: changes per
    request; `concurrency`: requests at a time; `timeout_seconds`: for a whole exchange; `schedule_seconds`: waits between the
    tries of a change, and one that is not taken after the last either, while others are, is a dead letter.
    `allow_cidrs` is none of them: what may be called, beside public addresses, the operator says (sinks/http/target.py).
    """

    url: Annotated[str, Written(_url, "an address such as https://hub.example/in, of a name that can be one")] = ""
    secret: SecretName = ""
    batch_max: Annotated[int, Between(1, 10_000)] = 1
    concurrency: Annotated[int, Between(1, 256)] = 8
    timeout_seconds: Annotated[Seconds, Between(0.001, 600)] = 15.0
    schedule_seconds: Annotated[tuple[Annotated[Seconds, Between(0)], ...], Between(1)] = SCHEDULE_SECONDS
    allow_cidrs: Annotated[
        None,
        Written(
            _operators_only,
            f"a subscriber's to say: take it out, and let the operator set {NETWORKS} where delivery runs",
        ),
    ] = None
