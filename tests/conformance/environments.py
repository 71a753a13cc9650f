"""The environments of what Take One is tried against: their real packages, from locks with hashes."""

import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / ".venv-conformance"
REQUIREMENTS: Final = ROOT / "requirements"
INSTALL_SECONDS: Final = 900
# For each server, its locks. If its wheel requires a GPU's packages, it is installed without them.
LOCKS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "litellm": (("conformance-litellm.txt",),),
    "sglang": (("conformance-stand-ins.txt",), ("conformance-sglang.txt", "--no-deps")),
    "vllm-omni": (("conformance-stand-ins.txt",), ("conformance-vllm-omni.txt", "--no-deps")),
    "openrouter-sdk": (("conformance-openrouter-sdk.txt",),),
}
# The package whose version is the server's, if it has another name.
PACKAGES: Final = {"openrouter-sdk": "openrouter"}


class NotInstalled(Exception):
    """A lock cannot be installed; says why."""


class NotThere(Exception):
    """This machine lacks a program that is needed; says which."""


def installed(server: str) -> Path:
    """The Python of this server's environment; made anew if its locks changed. Raises NotInstalled."""
    folder = FOLDER / server
    python = folder / "bin" / "python"
    texts = b"".join((REQUIREMENTS / lock).read_bytes() for lock, *_ in LOCKS[server])
    with installing(folder, texts + sys.version.encode()) as wanted:
        if wanted or not python.exists():
            _uv("venv", "--clear", "--python", sys.executable, str(folder))
            for lock, *options in LOCKS[server]:
                install = ["pip", "install", "--python", str(python), "--require-hashes", *options]
                _uv(*install, "-r", str(REQUIREMENTS / lock))
    return python


@contextmanager
def installing(folder: Path, made_of: bytes) -> Iterator[bool]:
    """One process at a time installs in this folder, if True is given: it was not made of this."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "installed"
    wanted = hashlib.sha256(made_of).hexdigest()
    with (ROOT / ".venv-conformance.lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        yield not (stamp.exists() and stamp.read_text() == wanted)
        # Written last, so an interrupted install is done again.
        stamp.write_text(wanted)


def version_of(server: str) -> str:
    """The version of the server's own package, as it is installed."""
    ask = f"import importlib.metadata; print(importlib.metadata.version({PACKAGES.get(server, server)!r}))"
    command = [str(installed(server)), "-c", ask]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def _uv(*arguments: str) -> None:
    install_by([sys.executable, "-m", "uv", "--no-progress", *arguments], ROOT)


def install_by(command: list[str], folder: Path) -> None:
    """Runs an installer there. Raises NotInstalled with its own words."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    if done.returncode:
        raise NotInstalled(done.stderr.strip())
