"""Offboarding (退网): what leaves the mesh for good, and what that ends."""
