"""Commands by which departments and subscribers get something to take away: client kits, and documents for others' tools."""
