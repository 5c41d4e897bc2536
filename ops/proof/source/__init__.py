"""`mesh verify --source`: a feed, folded by key up to a fence, compared with its source's table as it was there (对账)."""
