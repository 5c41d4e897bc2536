"""The audit's chain (审计链): how lines are linked, written by whoever acts, read back, exported and verified (invariant 9).

The function that makes a line is `ops.trust.audit.audit`. Whoever acts writes through an `AuditedLog`: what it does on control topics
and the line that says so are one transaction, and every line carries its number and the hash of the line before.
"""
