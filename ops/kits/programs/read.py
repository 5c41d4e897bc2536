"""Reads the topics of this kit and prints each change as a line of JSON, the changes of a key in order.

It begins where its group has committed up to, the first time at the oldest record. What is printed is committed a run at a time, and
that is the word that it was received: after a kill the last run comes again, and nothing is lost. Replace `take` by what you do with
a change; it must have it for good when it returns.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from fastavro.read import LOGICAL_READERS

HERE = Path(__file__).parent
RUN_RECORDS = 500
TRIES = 5
FOR_EVER_CLOSED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART}


def take(change: Mapping[str, Any]) -> None:
    """Have one change for good."""
    sys.stdout.write(json.dumps(change, ensure_ascii=False, default=as_text) + "\n")


def main() -> int:
    """Read what the kit names; the exit status."""
    kit = json.loads((HERE.parent / "kit.json").read_text("utf-8"))
    given = arguments(kit)
    topics = [topic for topic, about in kit["topics"].items() if not given.feed or about["feed"] in given.feed]
    login = login_of(given.login)
    group = f"{login.get('group.id', kit['group'])}{'.trial' if given.trial else ''}"
    schemas = Schemas(kit["registry"], os.environ.get("MESH_TOKEN", ""), os.environ.get("MESH_CA", ""))
    settings = {**login, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**settings, "error_cb": stop_where_refused, "log_level": 3})
    consumer.subscribe([*topics, kit["ends"]])
    try:
        return follow(consumer, kit, schemas, given.count)
    except KeyboardInterrupt:
        return 0
    finally:
        consumer.close()


def follow(consumer: Consumer, kit: Mapping[str, Any], schemas: Schemas, count: int | None) -> int:
    """Print changes until there are `count` of them, for ever if it is None; commit each run that was printed."""
    closed: set[str] = set()
    printed = 0
    while count is None or printed < count:
        places: dict[tuple[str, int], TopicPartition] = {}
        for message in consumer.consume(RUN_RECORDS, 1.0):
            if message.error() is not None:
                say_once(closed, message)
                continue
            if count is not None and printed >= count:
                break  # read, and not taken: it comes again
            change = read(message, kit, schemas)
            if change is not None:
                take(change)
                printed += 1
            topic, partition, offset = place(message)
            places[topic, partition] = TopicPartition(topic, partition, offset + 1)
        if places:
            sys.stdout.flush()
            consumer.commit(offsets=list(places.values()), asynchronous=False)
    return 0


def read(message: Message, kit: Mapping[str, Any], schemas: Schemas) -> dict[str, Any] | None:
    """The change in a record; None for the record without a value that follows each delete, which says no more.

    A truncate (`t`) empties a feed and has no key: nothing of the feed that you hold from before is there any more. On the topic of
    ends it says that a grant is over.
    """
    key, value = message.key(), message.value()
    if value is None:
        return None
    headers: dict[str, str] = {name: bytes(text or b"").decode() for name, text in message.headers() or ()}  # pyright: ignore[reportArgumentType] -- the client gives bytes
    told_of = headers.get("topic") or place(message)[0]
    envelope = schemas.decode(value, message)
    return {
        "feed": kit["topics"].get(told_of, {}).get("feed", told_of),
        "op": envelope["op"],
        "key": schemas.decode(key, message) if key else {},
        "before": envelope["before"],
        "after": envelope["after"],
        "unchanged": envelope["unchanged"] or [],
        "committed_at_ms": envelope["source"]["ts_ms"],
        "position": envelope["source"]["sequence"],
        "reason": headers.get("reason"),
        "place": place(message),
    }


class Schemas:
    """What the registry knows, each schema asked for once: an id never changes its meaning."""

    def __init__(self, url: str, token: str, ca: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._tls = ssl.create_default_context(cafile=ca or None)
        self._known: dict[int, Any] = {}

    def decode(self, data: bytes, message: Message) -> Any:
        """The value in the bytes of a record: a zero byte, the schema's id in four bytes, then Avro."""
        if len(data) < 5 or data[0] != 0:
            sys.exit(f"{place(message)}: is not in the Confluent wire format; nothing past it is committed")
        number = int.from_bytes(data[1:5], "big")
        if number not in self._known:
            self._known[number] = fastavro.parse_schema(self._ask(number), named_schemas={})
        return fastavro.schemaless_reader(BytesIO(data[5:]), self._known[number], None)

    def _ask(self, number: int) -> Any:
        request = urllib.request.Request(  # noqa: S310 -- the address that the kit was made with
            f"{self._url}/schemas/ids/{number}?format=resolved", headers=self._headers
        )
        problem = ""
        for attempt in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=15, context=self._tls_of()) as answer:  # noqa: S310 -- likewise
                    return json.loads(json.load(answer)["schema"])
            except urllib.error.HTTPError as error:
                if error.code in {401, 403}:
                    sys.exit(
                        f"{self._url}: asks for a token (HTTP {error.code}): put it into MESH_TOKEN; see README.md"
                    )
                problem = f"HTTP {error.code}"
            except OSError as error:
                problem = str(error)
            time.sleep(0.3 * 2**attempt)
        sys.exit(f"{self._url}: gives no schema {number} ({problem}); nothing is committed that was not printed")

    def _tls_of(self) -> ssl.SSLContext | None:
        return self._tls if self._url.startswith("https") else None


def say_once(closed: set[str], message: Message) -> None:
    """What a topic is refused with. Other trouble mends itself: the client goes on trying."""
    topic, error = message.topic() or "", message.error()
    if error is not None and error.code() in FOR_EVER_CLOSED and topic not in closed:
        closed.add(topic)
        said = (
            f"{topic}: is not open to this login ({error.name()}): its grant is over, or given anew under another topic"
        )
        sys.stderr.write(f"{said}; ask for another kit\n")


def stop_where_refused(error: KafkaError) -> None:
    """Called by the client from within `consume`: a wrong login does not mend itself; brokers that are away do."""
    if error.code() in {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED} or error.fatal():
        raise KafkaException(error)
    sys.stderr.write(f"{error.str()}; trying on\n")


def login_of(path: Path) -> dict[str, str]:
    """The file that was handed over, as the client's settings."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}; put the file that was handed to you there, or name it by --login")
    return dict(line.split("=", 1) for line in lines if line.strip() and not line.startswith("#"))


def arguments(kit: Mapping[str, Any]) -> argparse.Namespace:
    """What was said on the command line."""
    parser = argparse.ArgumentParser(description="Print what this kit may read, a line of JSON for each change.")
    parser.add_argument(
        "--login", type=Path, default=HERE.parent / kit["login_file"], help="the file handed over to you"
    )
    parser.add_argument("--feed", action="append", choices=sorted({each["feed"] for each in kit["topics"].values()}))
    parser.add_argument("--count", type=int, help="stop after so many changes")
    parser.add_argument("--trial", action="store_true", help="read in a group beside, whose commits confirm nothing")
    return parser.parse_args()


def as_text(value: Any) -> Any:
    """What JSON has no form for."""
    match value:
        case datetime() | date() | time_of_day():
            return value.isoformat()
        case bytes():
            return value.hex()
        case Decimal() | UUID():
            return str(value)
        case _:
            raise TypeError(type(value).__name__)


def place(message: Message) -> tuple[str, int, int]:
    """Topic, partition and offset of a record."""
    return message.topic() or "", message.partition() or 0, message.offset() or 0


def lenient(reader: Callable[..., Any]) -> Callable[..., Any]:
    """A reader of a logical type that leaves what Python cannot hold (a year after 9999, 24:00) as the number that Avro has."""

    def read_or_leave(value: Any, *schemas: Any) -> Any:
        try:
            return reader(value, *schemas)
        except (OverflowError, ValueError):
            return value

    return read_or_leave


if __name__ == "__main__":
    LOGICAL_READERS.update({name: lenient(reader) for name, reader in LOGICAL_READERS.items()})
    sys.exit(main())
