"""Hop 1: departmental databases become feeds."""
