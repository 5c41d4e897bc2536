"""Sink kind `postgres`: a subscriber's database keeps the granted rows as tables."""
