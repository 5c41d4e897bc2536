"""Tables that are told, not followed: files and polls state rows, and what differs from the last statement becomes changes.

What all kinds of that sort have in common: reading values, the rows that subscribers have (held on disk), records, the source itself.
"""
