"""Own Kafka topics: the subscriber reads what its grants allow with a Kafka client of its own."""
