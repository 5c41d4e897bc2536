"""The ground: the words that every hop agrees on.

Owns Change, Position, Contract, Feed, Grant, Subscription, DeadLetter, the errors, the Avro codec and the registry.
Imports nothing else of ours. Upholds invariants 2 (positions only grow) and 5 (a contract version never changes).

The invariants of the whole mesh, cited by number where a line upholds one, are in ops/INVARIANTS.md.
"""
