"""What is looked at before a database is captured, and the first contracts for its tables."""
