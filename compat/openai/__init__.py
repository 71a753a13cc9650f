"""OpenAI's Videos API over the same jobs, as openai-python 3.52 and openai-node call it."""
