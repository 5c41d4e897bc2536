"""Deferral: what a lane does with changes that its target does not take now."""
