"""What a web page on another host can make a browser send is not let in; what our clients send is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from schemas.guard.door import judge
from schemas.guard.entrance import LOOPBACK_ALONE
from schemas.guard.wsgi import guarded

LOCAL = {"Host": "127.0.0.1:8081"}


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", LOCAL, None),
        ("GET", {"Host": "localhost:1"}, None),
        ("GET", {"Host": "[::1]:1"}, None),
        ("DELETE", LOCAL, None),
        ("GET", {"Host": "evil.example:8081"}, 421),
        ("GET", {"Host": "127.0.0.1.evil.example"}, 421),
        ("GET", {}, 421),
        ("DELETE", LOCAL | {"Origin": "http://evil.example"}, 403),
        ("DELETE", LOCAL | {"Origin": "null"}, 403),
        ("POST", LOCAL | {"Origin": "http://127.0.0.1:9", "Content-Type": "application/json"}, 403),
        ("POST", LOCAL | {"Origin": "http://127.0.0.1:8081", "Content-Type": "application/json"}, None),
        ("GET", LOCAL | {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", LOCAL | {"Content-Type": "text/plain"}, 415),
        ("POST", LOCAL | {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("PUT", LOCAL, 415),
        ("PUT", LOCAL | {"Content-Type": "application/vnd.schemaregistry.v1+json; charset=utf-8"}, None),
        ("POST", LOCAL | {"Content-Type": "application/json"}, None),
    ],
)
def test_who_is_let_in(method: str, headers: Mapping[str, str], status: int | None) -> None:
    shut = judge(method, headers)
    assert (shut.status if shut else None) == status


def test_a_gateway_s_name_is_let_in_by_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_ALLOWED_HOSTS", "registry.mesh, data.example")
    assert judge("GET", {"Host": "Data.Example"}) is None
    assert judge("GET", {"Host": "other.example"})


def test_metrics_stand_behind_the_same_door() -> None:
    answered: list[str] = []

    def start(status: str, _headers: object) -> None:
        answered.append(status[:3])

    page = guarded(
        lambda _environ, start_response: [start_response("200 OK", []) or b"page"], "metrics", LOOPBACK_ALONE
    )
    asked = {"HTTP_HOST": "127.0.0.1:1", "PATH_INFO": "/metrics"}
    assert b"".join(page(asked, start)) == b"page"
    assert b"refused" in b"".join(page({**asked, "HTTP_HOST": "evil.example"}, start))
    assert b"refused" in b"".join(page({**asked, "PATH_INFO": "/"}, start))
    assert answered == ["200", "421", "404"]
