"""Ended jobs past JOB_RETENTION_DAYS: archived as JSON Lines, and then removed."""
