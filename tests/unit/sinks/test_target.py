"""Where a webhook may go: SK-14, name by name."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from schemas.errors import Misconfigured, Transient
from sinks.http.target import check_target
from sinks.network import networks_of

PUBLIC = "93.184.215.14"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::ffff:93.184.215.14",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "255.255.255.255",
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    for addresses in ([address], [PUBLIC, address]):
        with pytest.raises(Misconfigured, match="not public"):
            check_target("https://hub.example/x", [], lambda _host, _port, found=addresses: found)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/x",
        "https:///x",
        "https://user:pw@a/x",
        "https://@a/x",
        "https://a:99999/x",
        "https://a:0/x",
        "https://a:/x",
        "https://a:-1/x",
        "https://a:\uff18\uff10/x",
        "http://a/x",
        "https://a:25/x",
        "a/b",
        "https://a..b/",
        "https://.a/",
        "https://" + "a" * 64 + ".example/",
        "https://" + ".".join(["a" * 60] * 5) + "/",
        "https://-a.example/",
        "https://a b.example/",
        "https://a.example/ x",
        "https://a.example/\n",
        " https://a.example/",
        "https://[::1/",
        "https://[::g]/",
        "https://[1.2.3.4]/",
        "https://a\\b/",
        "https://a%2eb/",
        "https://\u200b/",
    ],
)
def test_urls_that_are_not_plain_https_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        check_target(url, [], lambda _host, _port: [PUBLIC])


def test_a_listed_network_opens_itself_and_nothing_else() -> None:
    allowed = [ip_network("10.0.0.0/8"), ip_network("169.254.0.0/16"), ip_network("0.0.0.0/0")]
    target = check_target("http://intranet:8080/hook?x=1", allowed, lambda _host, _port: ["10.1.1.1"])
    assert target.url == "http://10.1.1.1:8080/hook?x=1"
    assert target.host_header == "intranet:8080"
    with pytest.raises(Misconfigured, match="not public"):
        check_target("http://metadata/", allowed, lambda _host, _port: ["169.254.169.254"])
    with pytest.raises(Misconfigured, match="login"):
        check_target("http://a:b@intranet/", allowed, lambda _host, _port: ["10.1.1.1"])


def test_the_checked_address_is_what_is_connected_to() -> None:
    target = check_target("https://hub.example", [], lambda _host, _port: ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
    assert target.url == "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:443/"
    assert (target.host, target.host_header) == ("hub.example", "hub.example")


def test_a_name_without_address_is_tried_again() -> None:
    def fail(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Transient):
        check_target("https://hub.example/", [], fail)


@pytest.mark.parametrize(
    ("url", "host", "connected"),
    [
        ("https://Hub.Example./x", "hub.example", "https://93.184.215.14:443/x"),
        ("https://广州.example/通知?a=甲", "广州.example", "https://93.184.215.14:443/%E9%80%9A%E7%9F%A5?a=%E7%94%B2"),
        ("https://hub.example:8443?x=%20", "hub.example", "https://93.184.215.14:8443/?x=%20"),
        ("https://hub.example/x#part", "hub.example", "https://93.184.215.14:443/x"),
        ("https://under_score.example/", "under_score.example", "https://93.184.215.14:443/"),
    ],
)
def test_names_and_paths_of_other_scripts_are_spelled_as_the_wire_has_them(url: str, host: str, connected: str) -> None:
    target = check_target(url, [], lambda _host, _port: [PUBLIC])
    assert target.host == "".join(host.encode("idna").decode())
    assert target.url == connected


def test_an_address_of_the_sixth_version_is_judged_like_any_other() -> None:
    listed = [ip_network("fd12::/16")]
    target = check_target("http://[FD12::0:1]:8080/", listed, lambda host, _port: [host])
    assert (target.url, target.host_header) == ("http://[fd12::1]:8080/", "[fd12::1]:8080")
    with pytest.raises(Misconfigured, match="not public"):
        check_target("https://[fd12::1]/", [], lambda host, _port: [host])


def test_the_operator_lists_networks_and_hears_of_a_slip() -> None:
    assert networks_of("10.0.0.0/8, fd12::/16") == (ip_network("10.0.0.0/8"), ip_network("fd12::/16"))
    assert networks_of("") == ()
    with pytest.raises(Misconfigured, match="MESH_WEBHOOK_NETWORKS"):
        networks_of("10.0.0.1/8")
