"""Grafana dashboards: generated here, committed as JSON in `json/`, provisioned by file. Regenerate: python -m ops.dashboards."""
