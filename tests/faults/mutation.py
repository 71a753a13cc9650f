"""A plugin of pytest for `make mutation`: which tests judge a mutant.

A mutant that survives is tried with every test that calls its function. Most functions are called by hundreds
of tests, of all parts, and some of these take seconds. So a mutant is judged by the quick tests of its own
part, and a night suffices. What these do not notice is a survivor, even if others would.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Final

import pytest

# By the beginning of what is mutated, from MUTATED.
_TESTS: Final = {
    "accounts.budgets": ("tests/accounts/",),
    "upstreams.client": ("tests/sora/", "tests/upstreams/"),
    "videos.lifecycle": ("tests/references/", "tests/videos/"),
}
_QUICK_SECONDS: Final = 0.1
# Of a mutant that only slow tests reach.
_AT_LEAST: Final = 5


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of other parts; and, when a mutant is tried, slow ones."""
    kept = [item for item in items if item.nodeid.startswith(_of_its_part())]
    if "__mutmut_" in os.environ.get("MUTANT_UNDER_TEST", ""):
        seconds = _durations()
        kept.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
        quick = [item for item in kept if seconds.get(item.nodeid, 0.0) <= _QUICK_SECONDS]
        kept = quick if len(quick) >= _AT_LEAST else kept[:_AT_LEAST]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept


def _of_its_part() -> tuple[str, ...]:
    mutated = os.environ.get("MUTATED", "")
    return next((tests for part, tests in _TESTS.items() if mutated.startswith(part)), ("tests/",))


@cache
def _durations() -> dict[str, float]:
    """Seconds of each test, as mutmut has measured them; it runs in the folder of its own files."""
    path = Path("mutmut-stats.json")
    found: dict[str, float] = json.loads(path.read_text())["duration_by_test"] if path.exists() else {}
    return found
