"""Commands of `mesh`: thin doors; the work is in the file that each names."""
