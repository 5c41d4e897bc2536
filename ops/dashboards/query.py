"""Queries in PromQL that panels share, and what their values mean."""

from __future__ import annotations

from ops.dashboards.panel import WHO
from ops.metrics.metric import CAPTURED


def rates(metric: str, by: str, where: str = "") -> str:
    """PromQL: a counter per second, summed by a label."""
    return f"sum by ({by}) (rate({metric}{{{WHO}{where}}}[$__rate_interval]))"


def latency(q: float, origin: str = CAPTURED) -> str:
    """PromQL: a quantile of the end-to-end latency over the chosen subscribers."""
    where = f'{WHO},{SUBSCRIBER},origin="{origin}"'
    rate = f"rate(mesh_delivery_latency_seconds_bucket{{{where}}}[$__rate_interval])"
    return f"histogram_quantile({q}, sum by (le) ({rate}))"


def board(feed: str, column: str) -> str:
    """PromQL: a figure of a board, by row."""
    return f'max by (row) (mesh_board{{{WHO},feed="{feed}",column="{column}"}})'


FEED = 'feed=~"$feed"'
FROM_SOURCES = f'origin="{CAPTURED}"'
SUBSCRIBER = 'subscriber=~"$subscriber"'
LAG = ((None, "green"), (5.0, "yellow"), (60.0, "red"))
ALARM = ((None, "green"), (1.0, "red"))
UP = {"0": ("down 断开", "red"), "1": ("up 正常", "green")}
