"""The image as the Dockerfile describes it: its instructions, and its files laid out without an engine."""

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.services import ROOT


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continued lines joined."""

    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """The value as a list: of its JSON form, or as a shell would split it."""
        if self.value.startswith("["):
            found: list[str] = json.loads(self.value)
            return found
        return shlex.split(self.value)


def stages(text: str) -> list[list[Instruction]]:
    """The instructions of each stage, FROM first."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: list[list[Instruction]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, value = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, re.sub(r"\s+", " ", value).strip()))
    return found


def dockerfile() -> list[list[Instruction]]:
    """The stages of ours."""
    return stages((ROOT / "Dockerfile").read_text())


def final(name: str) -> list[Instruction]:
    """The last stage's instructions of this name."""
    return [each for each in dockerfile()[-1] if each.name == name]


def environment() -> dict[str, str]:
    """What ENV sets in the last stage."""
    pairs = [word.partition("=") for each in final("ENV") for word in each.words]
    return {name: value for name, _, value in pairs}


def copied() -> list[tuple[str, str]]:
    """What the last stage copies from the checkout, and where to."""
    of_checkout = [each.words for each in final("COPY") if not each.value.startswith("--from=")]
    return [(source, words[-1]) for words in of_checkout for source in words[:-1]]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets this path reach the engine. The last line that matches decides."""
    sent = True
    parts = path.split("/")
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        matcher = _matcher(pattern.removeprefix("!"))
        # A folder's own match is that of all beneath it.
        if any(matcher.fullmatch("/".join(parts[:length])) for length in range(1, len(parts) + 1)):
            sent = pattern.startswith("!")
    return sent


def _matcher(pattern: str) -> re.Pattern[str]:
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    split = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(pieces.get(piece) or re.escape(piece) for piece in split))


def lay_out(folder: Path) -> Path:
    """Copies into the folder what the image has in its WORKDIR, and returns that."""
    for source, target in copied():
        for path in [ROOT / source, *(ROOT / source).rglob("*")]:
            name = path.relative_to(ROOT).as_posix()
            if not path.is_file() or not is_sent(name):
                continue
            inside = path.relative_to(ROOT / source) if (ROOT / source).is_dir() else Path(path.name)
            place = folder / target / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    return folder
