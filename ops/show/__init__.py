"""Show: what a person looks at in a terminal: changes as they come, and the catalogue (资源目录)."""
