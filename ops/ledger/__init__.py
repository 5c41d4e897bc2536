"""The ledger (对账) as people see it: what hops say of what they wrote and read (schemas/ledger/), compared."""
