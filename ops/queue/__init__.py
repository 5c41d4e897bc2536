"""What waits for officers on the flows' queues, and what they decide of it (`mesh queue`)."""
