"""Programs of the kits, as they are handed out: they run at the subscriber's, and share no code with the mesh."""
