"""Queries in PromQL that panels share, and what their values mean."""

from __future__ import annotations

from ops.dashboards.variable import WHO
from ops.metrics.metric import CAPTURED


def rates(metric: str, by: str, where: str = "") -> str:
    """PromQL: a counter per second, summed by labels."""
    return f"sum by ({by}) (rate({metric}{{{WHO}{where}}}[$__rate_interval]))"


def grown(metric: str, by: str, where: str = "") -> str:
    """PromQL: what a counter grew by in the time shown, summed by labels."""
    return f"sum by ({by}) (increase({metric}{{{WHO}{where}}}[$__range]))"


def largest(metric: str, by: str, where: str = "") -> str:
    """PromQL: a gauge that several processes may tell of, by labels."""
    return f"max by ({by}) ({metric}{{{WHO}{where}}})"


def latency(q: float, origin: str = CAPTURED, where: str = "") -> str:
    """PromQL: a quantile of the end-to-end latency over the chosen subscribers."""
    chosen = f'{WHO},{SUBSCRIBER},origin="{origin}"{where}'
    rate = f"rate(mesh_delivery_latency_seconds_bucket{{{chosen}}}[$__rate_interval])"
    return f"histogram_quantile({q}, sum by (le) ({rate}))"


def board(feed: str, column: str) -> str:
    """PromQL: a figure of a board, by row."""
    return f'max by (row) (mesh_board{{{WHO},feed="{feed}",column="{column}"}})'


def providing(counted: str) -> str:
    """PromQL: with the agency that provides the feed, as the label `provider`: the first part of the feed's name."""
    return f'label_replace({counted}, "provider", "$1", "feed", "([^.]+)[.].*")'


FEED = 'feed=~"$feed"'
FROM_SOURCES = f'origin="{CAPTURED}"'
SUBSCRIBER = 'subscriber=~"$subscriber"'
SOURCE = 'source=~"$source"'
FLOW = 'flow=~"$flow"'
GRANT = 'grant_id=~"$grant"'
AGENCY = 'agency=~"$agency"'
LAG = ((None, "green"), (5.0, "yellow"), (60.0, "red"))
ALARM = ((None, "green"), (1.0, "red"))
UP = {"0": ("down 断开", "red"), "1": ("up 正常", "green")}
