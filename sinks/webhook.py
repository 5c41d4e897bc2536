"""Webhook sink: signed HTTP deliveries by Standard Webhooks 1.0 (FIELD-NOTES SK-13).

Options: see sinks/webhook_options.py. A secret is `whsec_` and base64, several separated by spaces while a key is being replaced.

The body is one JSON object, or with `batch_max` above 1 an array of them:

    {"feed", "grant_id", "purpose", "op": "c|u|d|r|t", "key": {…}, "before": {…}|null, "after": {…}|null, "unchanged": […],
     "position", "committed_at": "2026-01-31T15:59:59.123Z", "transaction": "…"|null, "reason": "…"|null, "marks": […]}

The reason of a removal is OUT_OF_SCOPE, SOURCE_DELETED, or what a flow says of a row that it takes back (PUBLICATION_EXPIRED, say).
Values are as sinks/row.py says: decimals and times are text. `webhook-id` is made of topic, partition and offset, so it is the
same however often a change is sent. Changes of one key are sent one after the other. What compaction left of a removal (a
tombstone alone) is no request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from schemas.change import Batch, Record
from schemas.codec import SchemaOf
from schemas.errors import ContractBroken, MeshError, Misconfigured, Rejected, Transient
from sinks.document import Documents
from sinks.sink import SinkKind, SinkSetup
from sinks.target import Network, Resolve, check_target, resolve
from sinks.webhook_options import SCHEDULE_SECONDS, WebhookOptions

ANSWER_BYTES_MAX = 64 * 1024
RETRY_AFTER_SECONDS_MAX = 3_600.0
SENT_MAX = 100_000
_UNWELL = frozenset({408, 425, 429})
_REFUSES_US = frozenset({401, 402, 403, 404, 405, 407, 410})


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


def judge(status: int, host: str) -> MeshError | None:
    """What an answer means: None is success. Any 2xx is one, nothing else (SK-13)."""
    if 200 <= status < 300:
        return None
    if status in _UNWELL or status >= 500:
        return Transient(f"webhook {host} answered {status}")
    if status == 410:
        return ContractBroken(
            f"webhook {host}", "answered 410: it is gone", fix="give the sink its new url, or end its grants"
        )
    if status in _REFUSES_US or status < 400:
        return ContractBroken(
            f"webhook {host}", f"answered {status}", fix="check the url and the rights; redirects are not followed"
        )
    return Rejected(f"http_{status}", f"webhook {host} answered {status} to this change")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    place: tuple[str, int, int]
    message_id: str
    key: bytes
    body: bytes


class WebhookSink:
    """Posts changes to one URL.

    Raises Transient with the time to wait, Rejected for a change that the receiver refuses for good, ContractBroken when it
    refuses us (410, 401, redirects), Misconfigured for a forbidden target.
    """

    def __init__(
        self,
        *,
        url: str,
        keys: Sequence[bytes],
        subscriber: str,
        schema_of: SchemaOf,
        allowed: Sequence[Network] = (),
        batch_max: int = 1,
        concurrency: int = 8,
        timeout_seconds: float = 15.0,
        schedule_seconds: Sequence[float] = SCHEDULE_SECONDS,
        now: Callable[[], float] = time.time,
        resolve_host: Resolve = resolve,
    ) -> None:
        self._url = url
        self._keys = keys
        self._documents = Documents(schema_of, subscriber)
        self._allowed = allowed
        self._batch_max = batch_max
        self._timeout_seconds = timeout_seconds
        self._schedule = tuple(schedule_seconds)
        self._now = now
        self._resolve = resolve_host
        self._failures = 0
        self._sent: set[tuple[str, int, int]] = set()
        self._refused: dict[tuple[str, int, int], Rejected] = {}
        self._lanes = concurrency
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix=f"webhook-{subscriber}")
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        # No proxy from the environment and no redirects: the connection goes where the check looked.
        self._client = httpx.Client(
            timeout=timeout_seconds, limits=limits, follow_redirects=False, trust_env=False, verify=True
        )

    def write(self, batches: Sequence[Batch]) -> None:
        """Post every change and wait for the answers; what was acknowledged in an earlier try is not sent again."""
        if len(self._sent) > SENT_MAX:  # a partition went elsewhere in the middle of a try, again and again
            self._sent.clear()
        lanes: list[list[_Item]] = [[] for _ in range(self._lanes)]
        for batch in batches:
            for record in batch.records:
                item = self._item(batch, record)
                if item is not None:
                    lanes[zlib.crc32(item.key) % self._lanes].append(item)
        work = [lane for lane in lanes if lane]
        failures = [error for error in self._pool.map(self._send_lane, work) if error is not None]
        if not failures:
            self._failures = 0
            for batch in batches:
                self._sent -= {(batch.topic, batch.partition, record.offset) for record in batch.records}
            return
        raise self._worst(failures)

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _worst(self, failures: Sequence[MeshError]) -> MeshError:
        for kind in (ContractBroken, Misconfigured):
            if found := next((failure for failure in failures if isinstance(failure, kind)), None):
                return found
        if waits := [failure for failure in failures if isinstance(failure, Transient)]:
            wait = self._schedule[min(self._failures, len(self._schedule) - 1)]
            self._failures += 1
            longest = max(failure.retry_after_seconds or 0.0 for failure in waits)
            return Transient(str(waits[0]), retry_after_seconds=max(wait, longest))
        return failures[0]

    def _item(self, batch: Batch, record: Record) -> _Item | None:
        place = (batch.topic, batch.partition, record.offset)
        if place in self._sent:
            return None
        document = self._documents.document(batch.topic, record)
        if document is None or record.value is None:
            return None
        body = json.dumps(document.json(), ensure_ascii=False, separators=(",", ":")).encode()
        # The same change has the same id, whatever its offset; another view of it (a wider grant) has another schema.
        identity = b"|".join((batch.topic.encode(), record.key or b"", document.position.encode(), record.value[:5]))
        message_id = "msg_" + hashlib.sha256(identity + document.change.op.encode()).hexdigest()[:32]
        return _Item(place=place, message_id=message_id, key=record.key or b"", body=body)

    def _send_lane(self, items: Sequence[_Item]) -> MeshError | None:
        """Send one after the other: order holds per key (invariant 4). A refused change lets the next ones go on."""
        refusal: MeshError | None = None
        for start in range(0, len(items), self._batch_max):
            run = items[start : start + self._batch_max]
            # Refused in an earlier try: do not ask again; alone, it is on its way to the dead letters.
            error = self._refused.get(run[0].place) if len(run) == 1 else None
            if error is None:
                error = self._post(run)
            if error is None:
                self._sent.update(item.place for item in run)
            elif isinstance(error, Rejected):
                refusal = error
                if len(run) == 1 and len(self._refused) < SENT_MAX:
                    self._refused[run[0].place] = error
            else:
                return error
        return refusal

    def _post(self, run: Sequence[_Item]) -> MeshError | None:
        if self._batch_max == 1:
            message_id, body = run[0].message_id, run[0].body
        else:
            ids = "".join(item.message_id for item in run).encode()
            message_id = "msg_" + hashlib.sha256(ids).hexdigest()[:32]
            body = b"[" + b",".join(item.body for item in run) + b"]"
        try:
            target = check_target(self._url, self._allowed, self._resolve)
            timestamp = int(self._now())
            headers = {
                "Host": target.host_header,
                "Content-Type": "application/json",
                "User-Agent": "pearlmesh",
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": sign(self._keys, message_id, timestamp, body),
            }
            extensions = {"sni_hostname": target.host}
            with self._client.stream(
                "POST", target.url, content=body, headers=headers, extensions=extensions
            ) as response:
                self._drain(response)
                error = judge(response.status_code, target.host)
                if isinstance(error, Transient):
                    error.retry_after_seconds = retry_after_seconds(response.headers.get("retry-after"), self._now())
                return error
        except MeshError as error:
            return error
        except httpx.HTTPError as error:
            return Transient(f"webhook does not answer ({type(error).__name__})", fix="see whether it can be reached")

    def _drain(self, response: httpx.Response) -> None:
        """Read a small answer, so that the connection can be used again; leave a long or dripping one."""
        until = time.monotonic() + self._timeout_seconds
        size = 0
        for part in response.iter_raw():
            size += len(part)
            if size > ANSWER_BYTES_MAX or time.monotonic() > until:
                return


def build_webhook(setup: SinkSetup) -> WebhookSink:
    """The sink of kind `webhook`."""
    options = setup.options(WebhookOptions)
    secret = setup.secret(options.secret, f"{setup.sink.name}_secret")
    return WebhookSink(
        url=options.url or setup.address_of(setup.subscriber, setup.sink.name),
        keys=signing_keys(secret, f"{setup.label}, secret"),
        subscriber=setup.subscriber,
        schema_of=setup.schema_of,
        allowed=options.allow_cidrs,
        batch_max=options.batch_max,
        concurrency=options.concurrency,
        timeout_seconds=options.timeout_seconds,
        schedule_seconds=options.schedule_seconds,
    )


WEBHOOK = SinkKind(build=build_webhook, options=WebhookOptions)
