"""OpenAI's SDK for Node in front of Take One's `/v1/videos`."""
