"""The releases whose databases can be upgraded, and their migrations."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent


def releases() -> list[str]:
    """All that there are, the oldest first."""
    found = (path.name for path in FOLDER.iterdir() if (path / "rows.sql").exists())
    return sorted(found, key=lambda name: [int(part) for part in name.split(".")])


def migrations() -> dict[str, str]:
    """The migrations in the code: their paths from the root, with the SHA-256 of each."""
    return {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(ROOT.glob("*/migrations/[0-9]*.py"))
    }


def migrations_of(release: str) -> dict[str, str]:
    """The migrations of a release, likewise."""
    lines = (FOLDER / release / "migrations.sha256").read_text().splitlines()
    return {path: digest for digest, path in (line.split(maxsplit=1) for line in lines)}


def leaves_of(release: str) -> list[tuple[str, str]]:
    """The last migration of each app of ours in a release."""
    last = {}
    for path in sorted(migrations_of(release)):
        app, _, name = Path(path).parts
        last[app] = name.removesuffix(".py")
    return list(last.items())
