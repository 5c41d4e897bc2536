"""The snapshot: the tables as they stood when the stream began, copied beside it."""
