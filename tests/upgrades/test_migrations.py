"""A migration that was released never changes."""

from pathlib import Path

import pytest

from tests.upgrades import released


def test_there_is_a_release() -> None:
    assert released.releases()


@pytest.mark.parametrize("release", released.releases())
def test_the_migrations_of_a_release_are_as_they_were(release: str) -> None:
    now = released.migrations()
    changed = [path for path, digest in released.migrations_of(release).items() if now.get(path) != digest]
    assert changed == [], "a database that was migrated with the old ones would not be brought up to date"


def test_a_folder_is_there_for_the_release_that_the_changelog_names() -> None:
    lines = (released.ROOT / "CHANGELOG.md").read_text().splitlines()
    dated = [line.split()[1] for line in lines if line.startswith("## ") and " - " in line]
    assert dated[0] == released.releases()[-1]


def test_the_rows_hold_nothing_of_the_machine_that_wrote_them() -> None:
    for release in released.releases():
        text = (released.FOLDER / release / "rows.sql").read_text()
        assert str(Path.home()) not in text
        assert "/tmp/" not in text
