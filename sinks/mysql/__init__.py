"""Sink kind `mysql`: a subscriber's MariaDB or MySQL keeps the granted rows as tables."""
