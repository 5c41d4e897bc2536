"""A live feed as a kind of sink: the subscriber follows a stream over HTTP, or takes changes and acknowledges them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig
from schemas.form import read
from sinks.kind import Destination, Secret, SinkKind
from sinks.live.options import CERTIFICATE_KEY, PREVIOUS_TOKEN, TOKEN, TOKEN_FORM, LiveOptions
from sinks.sink import AnsweringSink, SinkSetup


def _build(setup: SinkSetup) -> AnsweringSink:
    from sinks.live.sink import build_live

    return build_live(setup)


def _try(setup: SinkSetup) -> None:
    from sinks.live.sink import try_live

    try_live(setup)


def _places(setup: SinkSetup, _grants: Sequence[Grant]) -> Iterable[Destination]:
    at = setup.options(LiveOptions).listen
    yield Destination(what="its listener", where=("listener", at.host, str(at.port)))


def _served_at(sink: SinkConfig) -> str:
    at = read(LiveOptions, sink.options, f"sink {sink.name}").listen
    host = f"[{at.host}]" if ":" in at.host else at.host
    return f"{'https' if at.uses_tls else 'http'}://{host}:{at.port}"


_SECRETS = (
    Secret(
        name=TOKEN,
        what="token",
        needed_because="so nobody would be let in",
        or_option="secret",
        form=TOKEN_FORM,
        variable="TOKEN",
    ),
    Secret(name=PREVIOUS_TOKEN, what="token", variable="TOKEN"),
    Secret(name=CERTIFICATE_KEY, what="key of its certificate"),
)

LIVE = SinkKind(
    build=_build,
    options=LiveOptions,
    secrets=_SECRETS,
    trial=_try,
    places=_places,
    served_at=_served_at,
)
