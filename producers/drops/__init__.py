"""Source kind `files`: CSV, XLSX and JSON Lines that a department drops (落地文件) into a folder."""
