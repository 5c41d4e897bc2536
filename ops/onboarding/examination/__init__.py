"""Examination: whether all of a folder can be onboarded, found out before any of it is."""
