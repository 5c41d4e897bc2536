"""Departments' own databases: what the city makes, fills and writes there, whichever server it is.

`database.py` says what the city wants of one, and `opened.py` opens it by its address; each server's room knows how.
"""
