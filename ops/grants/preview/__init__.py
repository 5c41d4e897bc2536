"""Preview (试运行): what would flow by a grant, worked out by its own cut from the feed's past, and nothing delivered."""
