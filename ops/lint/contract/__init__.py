"""One contract, read alone: its record, its columns, and who may see what of them."""
