"""The journeys of a batch, one module each."""
