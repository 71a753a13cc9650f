"""The version is the same wherever it is written."""

import re
import tomllib

from django.conf import settings


def test_the_version_is_the_last_one_of_the_changelog() -> None:
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    changelog = (settings.BASE_DIR / "CHANGELOG.md").read_text()
    last = re.search(r"^## (\d+\.\d+\.\d+) - \d{4}-\d{2}-\d{2}$", changelog, re.M)
    assert last is not None
    assert project["version"] == settings.VERSION == last[1]
