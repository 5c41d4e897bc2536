"""Values: what a column of MariaDB holds, read from the log or from a SELECT, as Avro bytes."""
