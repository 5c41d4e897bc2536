"""Lint: what is wrong with a folder of schema files, said before anything runs."""
