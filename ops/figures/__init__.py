"""Figures (数字): the city's figures as the brief states them and as the running mesh has them, side by side.

`brief.yaml` holds what the customer's text says, disagreements included; `observed` computes the same numbers from the rows of
derived feeds. One rule of `disagreements` is held against both, and is red where numbers do not agree. `mesh board` shows it.
"""
