"""Real servers for a machine that has none: Apache Kafka, PostgreSQL and MariaDB, from wheels and Maven jars.

Owns the jar cache, the servers, and the leash that ties a child process to its parent. Imports schemas only. Upholds
invariants 7 (a stopped server loses nothing) and 9 (a server that cannot be had says why and what to do).
"""
