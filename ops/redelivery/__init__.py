"""Redelivery: dead letters and past changes that a person has delivered again, and gaps that one accepts."""
