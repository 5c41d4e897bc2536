"""Sink kind `sftp`: drops of files into a directory of an SFTP server."""
