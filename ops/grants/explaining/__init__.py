"""Explaining: why one row is, or is not, at a subscriber, looked up step by step on its way."""
