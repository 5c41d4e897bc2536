"""Onboarding (入网) and what follows it: drafts, successors of contracts, copies anew."""
