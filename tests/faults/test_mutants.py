"""The list of guards fits the code and the docs: `make mutants` runs it."""

import re
from collections import Counter

import pytest

from tests.faults.guards import GUARDS
from tests.services import ROOT

_DOCS = ROOT / "docs" / "reliability.md"


@pytest.mark.parametrize("file", sorted({guard.file for guard in GUARDS}))
def test_each_guard_is_where_the_list_says_and_the_code_compiles_without_it(file: str) -> None:
    source = (ROOT / file).read_text()
    for guard in GUARDS:
        if guard.file == file:
            compile(guard.removed_from(source), file, "exec")


def test_each_guard_has_a_name_and_tests_of_its_own() -> None:
    assert [name for name, times in Counter(guard.name for guard in GUARDS).items() if times > 1] == []
    named = {word for guard in GUARDS for word in guard.tests.split() if word.startswith("tests/")}
    assert [file for file in named if not (ROOT / file).is_file()] == []


def test_the_table_in_the_docs_names_every_guard() -> None:
    told = re.findall(r"^\| ([^|]+) \| `tests/[^`]+` \|$", _DOCS.read_text(), re.MULTILINE)
    assert sorted(told) == sorted(guard.name for guard in GUARDS)


def test_every_test_that_the_docs_name_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", _DOCS.read_text()))
    sources = {file: (ROOT / file).read_text() for file, _ in named}
    assert named
    assert [f"{file}::{test}" for file, test in named if f"def {test}(" not in sources[file]] == []
