"""What the kinds that keep rows as tables have in common: runs folded by key, chunks of one transaction, offsets beside the rows.

A kind of database brings its statements and its connection (`TableParts` in sink.py, the ports beside each part), and no order.
"""
