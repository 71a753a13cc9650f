"""What several profiles are made of."""
