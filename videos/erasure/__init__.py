"""Erasing an account: what its owner said and made goes, and what was paid stays."""
