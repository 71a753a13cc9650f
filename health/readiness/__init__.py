"""What /ready looks at, and what it says."""
