"""Backups of a running keyspace: the checkpoint, and what moves its files."""
