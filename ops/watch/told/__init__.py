"""What sources that tell their tables, rather than follow them, said last."""
