"""Hop 3: granted feeds reach their subscribers."""
