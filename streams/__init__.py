"""Hop 2: feeds are enriched and cut to what each grant allows."""
