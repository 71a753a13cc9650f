"""The environments of the servers under test: their real packages, from locks with hashes."""

import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_FOLDER: Final = ROOT / ".venv-conformance"
_LOCKS: Final = ROOT / "requirements"
_INSTALL_SECONDS: Final = 900
# For each server, its locks. If its wheel requires a GPU's packages, it is installed without them.
LOCKS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "litellm": (("conformance-litellm.txt",),),
    "sglang": (("conformance-stand-ins.txt",), ("conformance-sglang.txt", "--no-deps")),
    "vllm-omni": (("conformance-stand-ins.txt",), ("conformance-vllm-omni.txt", "--no-deps")),
}


class NotInstalled(Exception):
    """A server's locks cannot be installed; says why."""


def installed(server: str) -> Path:
    """The Python of this server's environment; made anew if its locks changed. Raises NotInstalled."""
    folder = _FOLDER / server
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    texts = b"".join((_LOCKS / lock).read_bytes() for lock, *_ in LOCKS[server])
    wanted = f"{hashlib.sha256(texts).hexdigest()} {sys.version}"
    with (ROOT / ".venv-conformance.lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        # The stamp is written last, so an interrupted install is done again.
        if not (stamp.exists() and stamp.read_text() == wanted and python.exists()):
            _uv("venv", "--clear", "--python", sys.executable, str(folder))
            for lock, *options in LOCKS[server]:
                install = ["pip", "install", "--python", str(python), "--require-hashes", *options]
                _uv(*install, "-r", str(_LOCKS / lock))
            stamp.write_text(wanted)
    return python


def version_of(server: str) -> str:
    """The version of the server's own package, as it is installed."""
    ask = f"import importlib.metadata; print(importlib.metadata.version({server!r}))"
    command = [str(installed(server)), "-c", ask]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def _uv(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uv", "--no-progress", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
    )
    if done.returncode:
        raise NotInstalled(done.stderr.strip())
