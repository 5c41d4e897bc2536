"""Writes every dashboard anew: `python -m ops.dashboards`."""

from ops.dashboards.all import write

write()
