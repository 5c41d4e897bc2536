"""What a member of a consumer group knows of its partitions: where each starts, how far it is done, what the group was told."""
