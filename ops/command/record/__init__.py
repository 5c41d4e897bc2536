"""Commands about what is on record: who did what, who received what, and what is disputed."""
