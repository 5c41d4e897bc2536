"""Sink kind `webhook`: signed HTTP deliveries to a subscriber's endpoint."""
