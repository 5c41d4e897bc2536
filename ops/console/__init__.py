"""The console: one page of live volume by feed and subscriber, and the health of the mesh in words.

It reads what every other reader reads (ops/watch/status.py), on loopback only: it has no login.
"""
