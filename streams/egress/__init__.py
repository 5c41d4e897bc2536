"""Egress: each grant's rows and columns, cut from the feeds' bytes into `out` topics."""
