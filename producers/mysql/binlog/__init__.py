"""The binary log: its packets, its events, the statements in it, and the rows of a change."""
