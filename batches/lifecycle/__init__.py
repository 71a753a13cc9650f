"""The steps of a batch, one module each."""
