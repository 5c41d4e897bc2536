"""What Prometheus needs to watch a mesh: its configuration, the list of processes to scrape, the alert rules."""
