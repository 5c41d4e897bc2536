"""Own topics: subscribers that read their `out` topics themselves. Their logins and rights, and how they learn of ends."""
