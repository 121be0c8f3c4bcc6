"""Statistics: what a running keyspace says of itself, as values, and as text for Prometheus."""
