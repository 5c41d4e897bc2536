"""The stateful merge, by our engine."""
