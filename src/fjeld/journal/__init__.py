"""The journals of a keyspace: rotation, syncing, finishing, retirement and replay."""
