"""The checks and the answer of /ready."""
