"""Used from the kernel only."""
