"""Grants (授权): how one comes to be, is changed, suspended and ended, and why a row is or is not at its subscriber."""
