"""The way in: a feed's records become messages to the subjects of flows, and travel to their tasks."""
