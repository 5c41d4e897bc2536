"""The frame of every page: its words in two languages, its look, who looks, and what is said where it cannot be shown."""
