"""Grafana dashboards: generated here, committed as JSON, provisioned by file. Regenerate: python -m ops.dashboards.overview."""
