"""The soak: the example city for hours, with the ordinary trouble of real departments and subscribers on the way."""
