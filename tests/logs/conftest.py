"""Batches, of which the log tells as well."""

from tests.batches.conftest import make_batch, renders

__all__ = ["make_batch", "renders"]
