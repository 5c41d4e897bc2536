"""The flows of the city, measured: its feeds are recorded once and folded from nothing, by this revision and by an earlier one."""
