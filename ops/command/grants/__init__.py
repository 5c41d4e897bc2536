"""`mesh grant`: the life of a grant (授权), and what is looked at of it; thin doors to ops/grants/."""
