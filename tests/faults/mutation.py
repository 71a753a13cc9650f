"""A plugin of pytest for `make mutation`: which tests judge a mutant.

mutmut tries a mutant with every test that calls its function, which may be hundreds of all parts. So that a
night suffices, it is judged by tests of its own part, for some seconds: those named like it come first, then
those that call little else. What these do not notice is a survivor, even if others would.
"""

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Final

import pytest

# By the beginning of what is mutated, from MUTATED.
_TESTS: Final = {
    "accounts.budgets": ("tests/accounts/",),
    "upstreams.client": ("tests/sora/", "tests/upstreams/"),
    "videos.lifecycle": ("tests/from_source/", "tests/references/", "tests/videos/", "tests/webhooks/"),
}
_SECONDS: Final = 6.0
# Of a mutant that only slow tests reach.
_AT_LEAST: Final = 5
# "in", "all" and "one" are in the names of many tests.
_WORD: Final = re.compile(r"[a-z]{4,}")


@dataclass(frozen=True, slots=True)
class _Stats:
    """What mutmut has measured: the seconds of each test, and how many functions it calls."""

    seconds: dict[str, float]
    functions: Counter[str]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of other parts; and, when a mutant is tried, those beyond some seconds."""
    kept = [item for item in items if item.nodeid.startswith(_of_its_part())]
    mutant = os.environ.get("MUTANT_UNDER_TEST", "")
    if "__mutmut_" in mutant:
        kept = _first_of(mutant, kept)
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept


def _first_of(mutant: str, items: list[pytest.Item]) -> list[pytest.Item]:
    stats = _stats()
    named = set(_WORD.findall(mutant.partition("__mutmut_")[0].split(".", 2)[-1]))

    def order(item: pytest.Item) -> tuple[int, int, float]:
        name = item.nodeid
        alike = sum(word in name for word in named)
        return -alike, stats.functions[name], stats.seconds.get(name, 0.0)

    first = sorted(items, key=order)
    passed = accumulate(stats.seconds.get(item.nodeid, 0.0) for item in first)
    within = sum(seconds <= _SECONDS for seconds in passed)
    return first[: max(within, _AT_LEAST)]


def _of_its_part() -> tuple[str, ...]:
    mutated = os.environ.get("MUTATED", "")
    return next((tests for part, tests in _TESTS.items() if mutated.startswith(part)), ("tests/",))


@cache
def _stats() -> _Stats:
    """mutmut runs in the folder of its own files."""
    path = Path("mutmut-stats.json")
    if not path.exists():
        return _Stats({}, Counter())
    found = json.loads(path.read_text())
    callers = found["tests_by_mangled_function_name"].values()
    return _Stats(found["duration_by_test"], Counter(test for tests in callers for test in tests))
