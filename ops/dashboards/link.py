"""Links: where a click on a value leads. A series' own labels choose what the next dashboard shows."""

from __future__ import annotations

from collections.abc import Mapping

KEPT = "${__url_time_range}&${job:queryparam}&${datasource:queryparam}&var-console=${console}"


def _to(dashboard: str, variable: str, label: str) -> str:
    return f"/d/pearlmesh-{dashboard}?{KEPT}&var-{variable}=${{__field.labels.{label}}}"


FEED_LINKS: Mapping[str, str] = {
    "This feed and its partitions 此数据": _to("source", "feed", "feed"),
    "Its line of the ledger 对账": _to("ledger", "feed", "feed"),
}
SOURCE_LINKS: Mapping[str, str] = {"This source 此数据源": _to("source", "source", "source")}
SUBSCRIBER_LINKS: Mapping[str, str] = {"This subscriber 此订阅方": _to("subscriber", "subscriber", "subscriber")}
GRANT_LINKS: Mapping[str, str] = {
    "This grant 此授权": _to("subscriber", "grant", "grant_id"),
    "On the console 控制台": "${console}/grants/${__field.labels.grant_id}",
}
FLOW_LINKS: Mapping[str, str] = {"This flow 此业务流": _to("flow", "flow", "flow")}
CONSOLE_LINKS: Mapping[str, str] = {"Why, and what to do 原因与处置": "${console}/#attention"}
