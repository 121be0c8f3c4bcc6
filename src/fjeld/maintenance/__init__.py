"""Maintenance: what keeps a keyspace in shape behind the writers' backs."""
