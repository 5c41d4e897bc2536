"""Rights on Kafka: what hops may do, what subscribers may read, and their logins."""
