"""Ledger (对账): what each hop says it wrote and read, so that nothing is skipped, doubled or changed between two hops unseen."""
