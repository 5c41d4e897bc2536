"""Offsets: where consumer groups stand and what is written there, asked of the brokers without joining a group."""
