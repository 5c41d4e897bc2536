"""`mesh demo`: the example city on real servers, and how it ends."""
