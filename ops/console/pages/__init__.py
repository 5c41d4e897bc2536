"""The pages, one file each: what is asked of the mesh, and what of it is shown. What is done is done by the commands' own engines."""
