"""Expressions over a row (row filters, rules): parsed, checked against the contract, and turned into code."""
