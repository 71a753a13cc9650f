"""The list of guards fits the code, `make mutants` runs it, and each is found by what the code means."""

import ast
import re
from collections import Counter
from textwrap import dedent

import pytest

from tests.faults.guards import GUARDS
from tests.faults.guards.guard import Guard
from tests.services import ROOT

_DOCS = ROOT / "docs" / "reliability.md"

_SOURCE = """
LIMIT: int = 5


@cached
@checked(by=LIMIT)
class Store:
    def take(self, rows, now):
        if not rows or rows.locked or now > self.end:
            return None
        for row in rows.filter(owner=self.owner, due__lte=now).lock():
            row.take()
            log(row)
        return rows

    def drop(self, rows):
        def each(row):
            log(row)

        try:
            each(rows)
        except KeyError:
            return None
        else:
            return rows


def take(rows):
    return [row for row in rows if row.due]
"""


def _without(place: str, before: str, after: str = "", *also: tuple[str, str]) -> str:
    return Guard("the guard", f"a.b:{place}", before, after, "", also).removed_from(_SOURCE)


def _expected(*replaced: tuple[str, str]) -> str:
    source = _SOURCE
    for text, without in replaced:
        assert source.count(text) == 1
        source = source.replace(text, without)
    return ast.unparse(ast.parse(source))


@pytest.mark.parametrize("file", sorted({guard.file for guard in GUARDS}))
def test_each_guard_is_where_the_list_says_and_the_code_compiles_without_it(file: str) -> None:
    source = (ROOT / file).read_text()
    whole = ast.unparse(ast.parse(source))
    for guard in GUARDS:
        if guard.file == file:
            removed = guard.removed_from(source)
            assert removed != whole, guard.name
            compile(removed, file, "exec")


def test_each_guard_has_a_name_and_tests_of_its_own() -> None:
    assert [name for name, times in Counter(guard.name for guard in GUARDS).items() if times > 1] == []
    assert [guard.name for guard in GUARDS if not guard.tests.startswith("tests/")] == []
    named = {word for guard in GUARDS for word in guard.tests.split() if word.startswith("tests/")}
    assert [file for file in named if not (ROOT / file).is_file()] == []


def test_a_guard_names_its_module() -> None:
    guard = Guard("the guard", "videos.sora.client:SoraClient.create", "x", "y", "tests/test_x.py")
    assert (guard.module, guard.file) == ("videos.sora.client", "videos/sora/client.py")


@pytest.mark.parametrize(
    ("place", "before", "after", "replaced"),
    [
        ("Store.take", "now > self.end", "False", ("now > self.end", "False")),
        ("Store.take", "rows.locked", "", (" or rows.locked", "")),
        (
            "Store.take",
            "not rows or rows.locked or now>self.end",
            "False",
            ("not rows or rows.locked or now > self.end", "False"),
        ),
        ("Store.take", "owner=self.owner", "", ("owner=self.owner, ", "")),
        ("Store.take", "due__lte=now", "due__lte=None", ("due__lte=now", "due__lte=None")),
        (
            "Store.take",
            "rows.filter(\n  owner = self.owner,\n  due__lte = now,\n)",
            "rows",
            ("rows.filter(owner=self.owner, due__lte=now)", "rows"),
        ),
        ("Store.take", "row.take()", "", ("            row.take()\n", "")),
        ("Store.take", "row.take()", "raise ValueError", ("row.take()", "raise ValueError")),
        (
            "Store.take",
            "row.take()\nlog(row)",
            "",
            ("            row.take()\n            log(row)\n", "            pass\n"),
        ),
        (
            "Store.take",
            "return None",
            "",
            ("            return None\n        for", "            pass\n        for"),
        ),
        ("Store.drop.each", "log(row)", "", ("            log(row)\n\n", "            pass\n\n")),
        ("Store.drop", "KeyError", "NotImplementedError", ("KeyError", "NotImplementedError")),
        (
            "take",
            "[row for row in rows if row.due]",
            "list(rows)",
            ("[row for row in rows if row.due]", "list(rows)"),
        ),
        ("", "LIMIT: int = 5", "LIMIT: int = 6", ("LIMIT: int = 5", "LIMIT: int = 6")),
        ("Store", "cached", "", ("@cached\n", "")),
        ("Store", "checked(by=LIMIT)", "checked", ("checked(by=LIMIT)", "checked")),
    ],
)
def test_what_is_removed_is_found_as_a_tree(
    place: str, before: str, after: str, replaced: tuple[str, str]
) -> None:
    assert _without(place, before, after) == _expected(replaced)


def test_the_code_may_be_indented_and_formatted_otherwise() -> None:
    before = """
        if (not rows
                or rows.locked or now > self.end):  # Any of them.
            return None
    """
    assert _without("Store.take", before) == _expected(
        ("        if not rows or rows.locked or now > self.end:\n            return None\n", "")
    )
    tight = Guard("the guard", "a.b:f", "g( 'x' )", "1", "").removed_from(dedent('def f():\n  return g("x")'))
    assert tight == "def f():\n    return 1"


def test_further_edits_are_in_the_same_definition() -> None:
    assert _without("Store.take", "rows.locked", "", ("owner=self.owner", "")) == _expected(
        (" or rows.locked", ""), ("owner=self.owner, ", "")
    )
    with pytest.raises(ValueError, match="0 times"):
        _without("Store.take", "rows.locked", "", ("KeyError", "ValueError"))


@pytest.mark.parametrize(
    ("place", "before", "message"),
    [
        ("Store.take", "rows.unlocked", r"the guard: a\.b:Store\.take: 0 times, not once: 'rows.unlocked'"),
        ("Store.take", "self.owner = owner", "0 times"),
        ("Store.take", "rows", "4 times"),
        ("Store", "log(row)", "2 times"),
        ("Store", "return None", "2 times"),
        ("take", "KeyError", "0 times"),
        ("Store.put", "rows", "'put' is defined 0 times"),
        ("each", "log(row)", "'each' is defined 0 times"),
        ("Store.take", "", "nothing to look for"),
        ("Store.take", "if rows", "not Python"),
        ("take", "row.due.of()", "0 times"),
    ],
)
def test_what_is_not_there_exactly_once_is_an_error(place: str, before: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _without(place, before, "False")


def test_a_name_that_is_defined_twice_is_an_error() -> None:
    source = "def f():\n    return 1\nif True:\n    def f():\n        return 2\n"
    with pytest.raises(ValueError, match="'f' is defined 2 times"):
        Guard("the guard", "a.b:f", "1", "3", "").removed_from(source)


def test_what_must_have_a_value_is_not_left_without() -> None:
    with pytest.raises(ValueError, match="cannot be without its test"):
        _without("Store.take", "not rows or rows.locked or now > self.end")


def test_every_test_that_the_docs_name_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", _DOCS.read_text()))
    sources = {file: (ROOT / file).read_text() for file, _ in named}
    assert named
    assert [f"{file}::{test}" for file, test in named if f"def {test}(" not in sources[file]] == []
