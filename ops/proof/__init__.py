"""Proof (对账): what each subscriber holds, compared with its source by code that shares nothing with the hops."""
