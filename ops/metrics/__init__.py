"""Metrics: what the hops report as Prometheus metrics, and how they are read back."""
