"""The console: pages for people about what moves, what there is and who has it, and the health of the mesh in words.

It reads what every other reader reads (ops/watch/status.py), and does nothing by itself: what is done on a page is done by the
engines of the commands. `frame/` is around every page, `pages/` are the pages. Rendered here, in two languages, with HTMX for what
lives; no page needs a script to be read. Upholds invariant 12: every page and act is a line of schemas/guard/table.py.
"""
