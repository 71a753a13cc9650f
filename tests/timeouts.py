"""How long tests wait for what should happen at once."""

from typing import Final

TIMEOUT: Final = 60
"""Seconds: more than a busy machine needs, and less than pytest's own limit for a test."""
