"""The link to a department's PostgreSQL: connections, what their errors mean, and what the catalog says."""
