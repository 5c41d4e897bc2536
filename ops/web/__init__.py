"""Web: an application that is served, of which nothing is logged that was asked."""
