"""Cases on pages: what waits for officers on each system's queue, decided one by one or as a group, and boards of its cases.

What stands is read by `ops/cases`; what is decided is done by `ops/queue`, as by `mesh queue`: one engine, one audit. A system's
pages are for the agency that its feeds are of.
"""
