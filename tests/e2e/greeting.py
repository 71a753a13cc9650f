"""The greeting as docs/start.md shows it and as programs print it."""

import re

from tests.services import ROOT


def alike(text: str) -> list[str]:
    """The lines of a greeting apart from addresses, folders, keys and the token."""
    changes = [
        (r"127\.0\.0\.1:\d+", "HOST"),
        (r"token=\S+", "token=…"),
        (r"(\. /\S+|export TAKEONE_URL=\S+ TAKEONE_API_KEY=\S+)", "READ THE KEY"),
        (r" \(Ctrl-C ends it\)", ""),
    ]
    for pattern, replacement in changes:
        text = re.sub(pattern, replacement, text)
    return text.strip().splitlines()


def shown() -> list[str]:
    """The page's copy."""
    page = (ROOT / "docs" / "start.md").read_text()
    (text,) = re.findall(r"```\n(Take One is up.*?)```", page, re.S)
    return alike(text)


def printed(output: str) -> list[str]:
    """The greeting in what a program has printed, as long as the page's copy."""
    return alike(output[output.index("Take One is up") :])[: len(shown())]
