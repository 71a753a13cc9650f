"""A stand-in for OpenAI's Videos API: its own process, real clips, faults on demand."""
