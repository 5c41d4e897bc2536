"""Trust: who may read what, by which key and login, and which other meshes are believed."""
