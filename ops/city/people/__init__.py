"""The city's people: their homes, households, lives and means."""
