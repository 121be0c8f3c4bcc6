"""A benchmark that a user can run: fjeld beside the peers that happen to be installed."""
