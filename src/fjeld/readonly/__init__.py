"""Reading a keyspace that this process does not own: `fjeld.open_readonly`."""
