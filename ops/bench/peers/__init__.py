"""The bench's peers: Debezium and Quix Streams, as they are run beside the mesh."""
