"""The host: the processes of one directory, kept running, private, and stopped in order."""
