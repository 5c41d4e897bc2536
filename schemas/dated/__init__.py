"""Dated: what begins and ends: configuration in packs, and the one calendar of working days (工作日). Imports errors only."""
