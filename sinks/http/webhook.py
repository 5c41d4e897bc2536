"""Webhook sink: signed HTTP deliveries by Standard Webhooks 1.0 (SK-13).

Options: see sinks/http/options.py. Its keys stand beside the connection in the subscriber's folder: `signing_key`, and while it is
being replaced `previous_signing_key`; both sign then. A key is `whsec_` and base64, or several separated by spaces.

The body is one JSON object, or with `batch_max` above 1 an array of them:

    {"feed", "grant_id", "purpose", "op": "c|u|d|r|t", "key": {…}, "before": {…}|null, "after": {…}|null, "unchanged": […],
     "position", "committed_at": "2026-01-31T15:59:59.123Z", "transaction": "…"|null, "reason": "…"|null,
     "trace_id": "…", "correction_of": […]|null, "marks": […]}

The reason of a removal is OUT_OF_SCOPE, SOURCE_DELETED, or what a flow says of a row that it takes back (PUBLICATION_EXPIRED, say).
Values are as sinks/row.py says: decimals and times are text. `webhook-id` is made of topic, partition and offset, so it is the
same however often a change is sent. `trace_id` is the change's (schemas/position.py), in the header `traceparent` (W3C) too where a
request has one change. `correction_of` names the objections that the change corrects. Changes of one key are sent one after the
other. What compaction left of a removal (a tombstone alone) is no request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from schemas.change import Record
from schemas.errors import ContractBroken, MeshError, Misconfigured, Rejected, Transient
from schemas.wire.schema import SchemaOf
from sinks.document import Documents
from sinks.http.exchange import Exchanges
from sinks.http.options import PREVIOUS_SIGNING_KEY, SIGNING_KEY, WebhookOptions
from sinks.http.target import Resolve, check_target, parse_url, resolve
from sinks.network import Network
from sinks.sink import Busy, CallTerms, Gone, SinkSetup

RETRY_AFTER_SECONDS_MAX = 3_600.0
_UNWELL = frozenset({408, 425})
_REFUSES_US = frozenset({401, 402, 403, 404, 405, 407})


def signing_keys(text: str, setting: str) -> tuple[bytes, ...]:
    """The keys in a secret. Raises Misconfigured for a text that is none, without showing it."""
    keys: list[bytes] = []
    for part in text.split():
        try:
            key = base64.b64decode(part.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not 24 <= len(key) <= 64:
            raise Misconfigured(setting, "is no webhook secret", fix="write whsec_ and 24 to 64 random bytes in base64")
        keys.append(key)
    if not keys:
        raise Misconfigured(setting, "is empty", fix="write whsec_ and 24 to 64 random bytes in base64")
    return tuple(keys)


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one signature per key, so that a receiver may still have the old one."""
    text = f"{message_id}.{timestamp}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode() for key in keys)


def span_of(message_id: str) -> str:
    """The span of a delivery in its change's trace: the same however often it is tried."""
    return hashlib.sha256(message_id.encode()).hexdigest()[:16]


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """What a Retry-After header asks for: seconds, or a date; None if it is absent or unreadable."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            moment: datetime = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)


def judge(status: int, host: str, retry_after_seconds: float | None = None) -> MeshError | None:
    """What an answer means: None is success. Any 2xx is one, nothing else (SK-13)."""
    if 200 <= status < 300:
        return None
    error = _judged(status, host, retry_after_seconds)
    error.http_status = status
    return error


def _judged(status: int, host: str, retry_after_seconds: float | None) -> MeshError:
    text = f"webhook {host} answered {status}"
    if status == 429:  # too many requests: not this change's fault, so nothing else is sent either
        return Busy(text, retry_after_seconds=retry_after_seconds)
    if status in _UNWELL or status >= 500:
        return Transient(text, retry_after_seconds=retry_after_seconds)
    if status == 410:
        return Gone(
            f"webhook {host}",
            "answered 410: it is gone, and is not called again",
            fix="give the sink its new address and `mesh onboard` its subscriber",
        )
    if status in _REFUSES_US or status < 400:
        return ContractBroken(
            f"webhook {host}", f"answered {status}", fix="check the url and the rights; redirects are not followed"
        )
    return Rejected(f"http_{status}", f"{text} to this change")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One change as it is sent."""

    message_id: str
    body: bytes
    trace_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReceiver:
    """Whom a webhook calls: all of `keys` sign, and `allowed` may be called beside public addresses. Its repr shows no secret."""

    url: str = field(repr=False)
    keys: Sequence[bytes] = field(repr=False)
    allowed: Sequence[Network] = ()


class WebhookSink:
    """Posts changes to one URL (sinks/lane/dispatch/ says in which order)."""

    def __init__(
        self,
        *,
        receiver: WebhookReceiver,
        options: WebhookOptions,
        subscriber: str,
        schema_of: SchemaOf,
        now: Callable[[], float] = time.time,
        resolve_host: Resolve = resolve,
    ) -> None:
        self.receiver = receiver
        self.terms = CallTerms(
            concurrency=options.concurrency, batch_max=options.batch_max, schedule_seconds=options.schedule_seconds
        )
        self._documents = Documents(schema_of, subscriber)
        self._now = now
        self._resolve = resolve_host
        self._exchanges = Exchanges(connections_max=options.concurrency, timeout_seconds=options.timeout_seconds)

    def message(self, topic: str, record: Record) -> Message | None:
        """The change as JSON, with an id that it keeps. Raises Rejected when it cannot be read."""
        document = self._documents.document(topic, record)
        if document is None or record.value is None:
            return None
        body = document.body()
        # The same change has the same id, whatever its offset; another view of it (a wider grant) has another schema.
        identity = b"|".join((topic.encode(), record.key or b"", document.position.encode(), record.value[:5]))
        message_id = "msg_" + hashlib.sha256(identity + document.change.op.encode()).hexdigest()[:32]
        return Message(message_id=message_id, body=body, trace_id=document.trace_id)

    def send(self, messages: Sequence[Message]) -> MeshError | None:
        """Post them in one request; what the answer means, None if they were taken."""
        if self.terms.batch_max == 1:
            return self.post(messages[0])
        ids = "".join(message.message_id for message in messages).encode()
        message_id = "msg_" + hashlib.sha256(ids).hexdigest()[:32]
        body = b"[" + b",".join(message.body for message in messages) + b"]"
        return self.post(Message(message_id=message_id, body=body))

    def post(self, message: Message) -> MeshError | None:
        """Post one body as it is, signed; what the answer means."""
        message_id, body = message.message_id, message.body
        try:
            target = check_target(self.receiver.url, self.receiver.allowed, self._resolve)
            timestamp = int(self._now())
            headers = {
                "Host": target.host_header,
                "Content-Type": "application/json",
                "User-Agent": "pearlmesh",
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": sign(self.receiver.keys, message_id, timestamp, body),
            }
            if message.trace_id:
                headers["traceparent"] = f"00-{message.trace_id}-{span_of(message_id)}-01"
            answer = self._exchanges.post(target, headers, body)
        except MeshError as error:
            return error
        return judge(answer.status, target.host, retry_after_seconds(answer.retry_after, self._now()))

    def close(self) -> None:
        """Break off what is under way and close the connections."""
        self._exchanges.close()


def _address_and_keys(setup: SinkSetup, options: WebhookOptions) -> tuple[str, Sequence[bytes]]:
    url = options.url or setup.address_of(setup.subscriber, setup.sink.name)
    try:
        parse_url(url)
    except Misconfigured as error:
        raise Misconfigured(f"{setup.label}, connection", error.problem, fix=error.fix) from error
    given = setup.secrets_in_use(options.secret, SIGNING_KEY, PREVIOUS_SIGNING_KEY)
    return url, [key for name, text in given for key in signing_keys(text, f"{setup.label}, {name}")]


def try_webhook(setup: SinkSetup) -> None:
    """What onboarding tries: whether the address and the keys are such. Nothing is sent: a receiver knows no trial events."""
    _address_and_keys(setup, setup.options(WebhookOptions))


def build_webhook(setup: SinkSetup) -> WebhookSink:
    """The sink of kind `webhook`."""
    options = setup.options(WebhookOptions)
    url, keys = _address_and_keys(setup, options)
    return WebhookSink(
        receiver=WebhookReceiver(url=url, keys=keys, allowed=setup.networks),
        options=options,
        subscriber=setup.subscriber,
        schema_of=setup.schema_of,
    )
