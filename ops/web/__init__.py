"""Web: an application served on the loopback address, of which nothing is logged that was asked."""
