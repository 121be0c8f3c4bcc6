"""The logical export: a whole keyspace as one portable, checksummed stream, and back."""
