"""What the docs point to is there: pages, headings, commands and settings."""

import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

ROOT = Path(settings.BASE_DIR)
_NOT_OURS = {"var", "node_modules"}
_CODE = {".py", ".toml", ".yml", ".yaml", ".json", ".sh", ".service", ""}
# Of a shell in an example, or of the simulator and the tests.
_NOT_SETTINGS = {
    "HTTPS_PROXY",
    "KEY",
    "JOB",
    "REPOSITORY",
    "COMMIT",
    "VERSION",
    "TAKEONE_API_KEY",
    "SIMULATOR_OPTIONS",
}
# Docker Compose reads the one, the test run another, and NAME stands for any.
_NOT_SETTINGS |= {"TAKEONE_PUBLISH", "TAKEONE_COVERAGE", "NAME_FILE"}


def files() -> Iterator[Path]:
    """All files of the repository, without what is installed or made by running it."""
    for top in sorted(ROOT.iterdir()):
        if top.is_file():
            yield top
        elif top.name not in _NOT_OURS and (not top.name.startswith(".") or top.name == ".github"):
            yield from (path for path in sorted(top.rglob("*")) if path.is_file())


PAGES = [path for path in files() if path.suffix == ".md"]


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = "".join(c for c in words if c not in string.punctuation or c in "-_")
        slug = kept.replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return found.keys() | {f"{slug}-{n}" for slug, count in found.items() for n in range(1, count + 1)}


def links(page: Path) -> list[str]:
    """The targets of its links into the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert there.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(there), target


def test_each_page_that_code_names_is_there() -> None:
    named = {
        # A pattern in a test has a backslash before its dot.
        (path, found.replace("\\", ""))
        for path in files()
        if path.suffix in _CODE and path.name != Path(__file__).name
        for found in re.findall(r"(?<![\w/.])docs/[\w/-]*\w(?:\\?\.md)?", path.read_text(errors="replace"))
    }
    assert {found for _, found in named} >= {"docs/upgrading.md", "docs/architecture.md"}
    for path, found in named:
        assert (ROOT / found).exists(), f"{path.relative_to(ROOT)} names {found}"


def test_each_page_of_docs_is_in_the_index() -> None:
    docs = ROOT / "docs"
    indexed = {(docs / target.partition("#")[0]).resolve() for target in links(docs / "README.md")}
    # What has moved is no page.
    assert {*docs.glob("*.md")} - {docs / "README.md"} <= indexed
    decisions = docs / "decisions"
    indexed = {(decisions / target).resolve() for target in links(decisions / "README.md")}
    assert {*decisions.glob("*.md")} - {decisions / "README.md"} == indexed


USERS_PAGES = [page for page in PAGES if "decisions" not in page.parts and page.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", USERS_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_and_setting_that_it_names_exists(page: Path) -> None:
    text = page.read_text()
    for command in re.findall(r"manage\.py ([a-z_]+)", text):
        assert command in get_commands(), f"manage.py {command}"
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for target in re.findall(r"(?:`|^)make ([a-z]+)", text, re.M):
        assert target in targets, f"make {target}"
    known = set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)) | _NOT_SETTINGS
    for name in re.findall(r"`([A-Z][A-Z]+_[A-Z_]+)(?:=[^`]*)?`", text):
        if name != "SORA_SUBMISSION_FAILED":
            assert name in known, name
