"""The verbs of `fjeld checkpoints`, one a file."""
