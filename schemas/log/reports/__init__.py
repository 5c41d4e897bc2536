"""Delivery reports: what came back of what was written, and where it came to lie."""
