"""A question as people type it is answered, and nothing of any question is logged, also of one that is no request."""

from __future__ import annotations

import json
import logging
import socket
import threading

import pytest

from ops.opendata.answers import Answers
from ops.opendata.server import OpenData
from tests.stage.until import until


def asked(answers: Answers, request: bytes) -> tuple[int, str, str]:
    """Status, content type and body of the answer to raw bytes."""
    stop, urls = threading.Event(), list[str]()
    thread = threading.Thread(target=OpenData(answers, lambda: "").run, args=(stop, urls.append))
    thread.start()
    try:
        until(lambda: urls, 20, "it serves")
        port = int(urls[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(request)
            text = b""
            while part := connection.recv(65536):
                text += part
        head, _, body = text.decode().partition("\r\n\r\n")
        kind = next(
            line.partition(":")[2].strip() for line in head.splitlines() if line.lower().startswith("content-type")
        )
        return int(head.split()[1]), kind, body
    finally:
        stop.set()
        thread.join()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()


def test_raw_utf_8_is_answered_as_its_encoded_form_is(answers: Answers) -> None:
    raw = asked(answers, get("/datasets/enterprise/rows?industry=张三"))
    assert raw == asked(answers, get("/datasets/enterprise/rows?industry=%E5%BC%A0%E4%B8%89"))
    assert raw[0] == 200
    assert asked(answers, get("/datasets/enterprise/rows?industry=张三" + "x" * 9_000))[0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        get("/datasets/enterprise/rows?name=张三" + "x" * 90_000),
        b"GET /?name=zhangsan\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"zhangsan\r\n\r\n",
    ],
)
def test_what_cannot_be_answered_is_refused_in_json_and_leaves_nothing_in_the_log(
    answers: Answers, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        status, kind, body = asked(answers, request_)
    assert 400 <= status < 500
    assert kind.startswith("application/json")
    assert set(json.loads(body)) == {"what", "why", "fix"}
    for name in ("张三", "%E5%BC%A0", "zhangsan", "xxxx"):
        assert name not in caplog.text
        assert name not in body
