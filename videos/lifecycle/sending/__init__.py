"""Sends claimed submissions to an upstream, each once."""
