"""Objections (数据异议): a subscriber disputes a field, the provider answers, and the corrected row is recognised when it comes."""
