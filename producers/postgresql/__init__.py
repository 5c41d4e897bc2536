"""Source kind `postgres`: a department's PostgreSQL, by logical replication: the slot, the place in it, and what guards both."""
