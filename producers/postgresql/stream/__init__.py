"""The stream: pgoutput's messages of committed transactions, read and turned into records."""
