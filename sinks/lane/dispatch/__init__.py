"""Dispatch: delivery through a sink whose receiver answers for each change by itself."""
