"""Sink kind `s3`: drops of files into a bucket of an S3-compatible object store."""
