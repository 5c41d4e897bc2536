"""Values: from PostgreSQL's binary and text forms to Avro's bytes, the same for stream and snapshot."""
