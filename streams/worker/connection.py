"""Connection: aiokafka's, on uvloop, breaks where it was closed, as every other broken connection does."""

from __future__ import annotations

from typing import Any, cast

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError

_send = AIOKafkaConnection.send


def break_what_is_closed() -> None:
    """Have every connection of this process send so."""
    cast("Any", AIOKafkaConnection).send = _send_or_break


def _send_or_break(connection: Any, request: Any, expect_response: bool = True) -> Any:
    """Send a request; a connection that is closed, and does not know it yet, is broken like any other.

    uvloop says so by a RuntimeError, which aiokafka expects nowhere: it ended the task that keeps the metadata fresh, and whoever
    looked for the group's coordinator then, heartbeat and commit alike, waited for ever.
    """
    try:
        return _send(connection, request, expect_response)
    except KafkaError:  # a RuntimeError too
        raise
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError("the connection to the broker is closed") from error
