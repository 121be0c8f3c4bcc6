"""For the kernel only."""
