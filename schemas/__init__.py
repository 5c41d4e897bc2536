"""The ground: the words that every hop agrees on.

Owns Change, Position, Contract, Feed, Grant, Subscription, DeadLetter, the errors, the Avro codec and the registry.
Imports nothing else of ours. Upholds invariants 2 (positions only grow) and 5 (a contract version never changes).

The invariants of the whole mesh, cited by number where a line upholds one:

1. Confirm upstream only what is durable downstream.
2. Positions only grow; a resend carries the same position.
3. Every change is delivered, or suppressed by a grant, or dead-lettered: exactly one of them, and counted.
4. Order holds per key, end to end.
5. A contract version never changes; it gets a successor.
6. Default deny: nothing flows without an active grant that names it.
7. A stopped process, however stopped, loses nothing.
8. One subscriber's trouble is not another's.
9. No silent gap: what cannot be continued stops loudly, says why and what to do.
"""
