"""Resources (信息资源) of the catalogue: the code and the core metadata of each feed (HANDBOOK A8, A9)."""
