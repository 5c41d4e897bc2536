"""Sources beside PostgreSQL's own log: MariaDB's, polled tables and dropped files, each measured as it is captured."""
