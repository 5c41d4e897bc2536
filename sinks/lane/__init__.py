"""A lane: one subscriber's grants through one sink: read, write, be sure, confirm; and what holds it up."""
