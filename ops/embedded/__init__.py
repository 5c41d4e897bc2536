"""Real servers from wheels and jars, for a machine that has none running."""
