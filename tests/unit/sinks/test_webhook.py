"""Signatures, answers and waits, without a server."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from schemas.errors import ContractBroken, Misconfigured, Rejected, Transient
from sinks.http.webhook import judge, retry_after_seconds, sign, signing_keys

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_the_reference_implementation_accepts_our_signature() -> None:
    now = int(datetime.now(UTC).timestamp())
    signature = sign(signing_keys(SECRET, "secret"), "msg_1", now, '{"a":"甲"}'.encode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature}
    assert Webhook(SECRET).verify('{"a":"甲"}', headers) == {"a": "甲"}


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!", "whsec_" + base64.b64encode(b"short").decode()])
def test_a_bad_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        signing_keys(secret, "secret")
    assert "!!" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (204, None),
        (301, ContractBroken),
        (400, Rejected),
        (401, ContractBroken),
        (408, Transient),
        (410, ContractBroken),
        (413, Rejected),
        (422, Rejected),
        (429, Transient),
        (500, Transient),
        (502, Transient),
        (504, Transient),
    ],
)
def test_only_2xx_is_success(status: int, kind: type[Exception] | None) -> None:
    error = judge(status, "hub.example")
    assert error is None if kind is None else isinstance(error, kind)


def test_retry_after_is_seconds_or_a_date_and_bounded() -> None:
    assert retry_after_seconds("7", 0) == 7
    assert retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", 20) == 40
    assert retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", 99) == 0
    assert retry_after_seconds("9999999", 0) == 3600
    assert retry_after_seconds("soon", 0) is None
    assert retry_after_seconds(None, 0) is None
