"""Source kind `push`: rows that a department's own script sends (推送) over HTTP, in batches that are taken whole or not at all."""
