"""The stream worker: Faust's group membership and reading, with what it needs to lose nothing."""
