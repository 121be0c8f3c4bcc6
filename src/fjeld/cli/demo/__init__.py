"""The demonstration: real input is written, backed up meanwhile, killed, reopened, and proved."""
