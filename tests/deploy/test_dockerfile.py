"""The Dockerfile and .dockerignore are held to the code that they pack."""

import re
import tomllib
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.deploy import composition, image
from tests.deploy.image import Instruction
from tests.e2e import importing
from tests.services import ROOT

INSTALL, FINAL = image.dockerfile()


def runs(stage: list[Instruction]) -> Iterator[str]:
    """Each command of the stage's RUN lines."""
    for each in stage:
        if each.name == "RUN":
            yield from (command.strip() for command in each.value.split("&&"))


def test_it_has_the_python_that_the_lock_is_made_for() -> None:
    makefile = (ROOT / "Makefile").read_text()
    locked = re.search(r"--python-version (\S+)", makefile)
    assert locked is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={locked[1]}"
    bases = [stage[0].value.split()[0] for stage in (INSTALL, FINAL)]
    assert bases == [f"python:{locked[1]}-slim-bookworm"] * 2


def test_it_installs_the_runtime_lock_by_hash_and_compiles_nothing() -> None:
    (lock,) = [each for each in INSTALL if each.name == "COPY"]
    source, target = lock.words
    assert source == "requirements/runtime.txt"
    assert (ROOT / source).is_file()
    assert image.is_sent(source)
    (install,) = [command for command in runs(INSTALL) if " install " in command]
    assert "--require-hashes" in install
    assert "--only-binary :all:" in install
    assert install.endswith(f"-r {target}")
    (venv,) = [command for command in runs(INSTALL) if " -m venv " in command]
    folder = venv.split()[-1]
    assert f"--python {folder}/bin/python" in install
    (taken,) = [each for each in image.final("COPY") if each.value.startswith("--from=")]
    assert taken.value == f"--from={INSTALL[0].value.split(' AS ')[1]} {folder} {folder}"
    assert image.environment()["PATH"] == f"{folder}/bin:$PATH"


def test_no_compiler_or_package_manager_runs_in_the_last_stage() -> None:
    tools = re.compile(r"\b(apt|apt-get|apk|pip|uv|gcc|cc|make|build-essential|curl|wget)\b")
    assert [command for command in runs(FINAL) if tools.search(command)] == []


def test_each_package_of_ours_is_copied_and_nothing_that_is_not_there() -> None:
    sources = [source for source, _ in image.copied()]
    assert {"manage.py", "deploy/probe.py", *importing.packages()} == set(sources)
    for source, target in image.copied():
        assert (ROOT / source).exists()
        assert image.is_sent(source)
        # A folder's content is copied, so its own name must be said again.
        folder = source if (ROOT / source).is_dir() else source.rpartition("/")[0] or "."
        assert target == f"{folder}/"


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "config/.env",
        "secrets/secret_key",
        "var/secret_key",
        "var/takeone.env",
        ".git/config",
        ".venv/bin/python",
        ".venv-runtime/bin/python",
        "requirements/dev.txt",
        "tests/run.py",
        "videos/__pycache__/models.cpython-311.pyc",
        "deploy/systemd/takeone.target",
    ],
)
def test_what_the_image_does_not_need_is_not_sent_to_the_engine(path: str) -> None:
    assert not image.is_sent(path)


def test_what_it_needs_is_sent() -> None:
    for path in (
        "manage.py",
        "videos/models/job.py",
        "config/settings/service.py",
        "requirements/runtime.txt",
    ):
        assert image.is_sent(path)


def test_no_secret_is_in_it() -> None:
    arguments = [each.value for each in (*INSTALL, *FINAL) if each.name == "ARG"]
    names = [*image.environment(), *arguments]
    assert [name for name in names if re.search("KEY|SECRET|PASSWORD|TOKEN|CREDENTIAL", name)] == []


def test_it_runs_as_a_user_of_its_own_that_is_not_root() -> None:
    (user,) = image.final("USER")
    uid, _, gid = user.value.partition(":")
    made = " ".join(runs(FINAL))
    assert int(uid) >= 1000
    assert f"groupadd --gid {gid} takeone" in made
    assert f"useradd --uid {uid} --gid takeone" in made
    # What runs after that line runs as that user; what is copied before it belongs to root.
    names = [each.name for each in FINAL]
    assert not {"COPY", "RUN"} & set(names[names.index("USER") :])
    assert not [each for each in image.final("COPY") if "--chown" in each.value]


def test_the_folders_of_volumes_belong_to_that_user() -> None:
    (install,) = [command for command in runs(FINAL) if command.startswith("install -d")]
    assert "-o takeone -g takeone" in install
    for name in composition.OURS:
        for volume in composition.services()[name].get("volumes", []):
            # Anybody may write to /tmp, which each image has.
            assert volume.split(":")[1] in [*install.split(), "/tmp"]
    assert image.environment()["TAKEONE_VAR"] in install.split()


def test_it_is_the_web_service_unless_it_is_told_otherwise() -> None:
    web = composition.services()["web"]
    (command,) = image.final("CMD")
    assert command.words == web["command"]
    assert not image.final("ENTRYPOINT")
    (port,) = image.final("EXPOSE")
    assert image.environment()["TAKEONE_BIND"] == f"0.0.0.0:{port.value}"
    assert web["environment"]["TAKEONE_BIND"] == f"0.0.0.0:{port.value}"
    (check,) = image.final("HEALTHCHECK")
    probe = Instruction("CMD", check.value.partition(" CMD ")[2]).words
    assert ["CMD", *probe] == web["healthcheck"]["test"]
    assert urlsplit(probe[-1]).port == int(port.value)
    for name in ("interval", "timeout", "retries", "start_period"):
        assert f"--{name.replace('_', '-')}={web['healthcheck'][name]}" in check.value.split()


def test_the_reader_joins_lines_and_tells_stages_apart() -> None:
    text = '# syntax\nFROM a AS b\nRUN x \\\n    # why\n    && y\nFROM c\nCMD ["d", "e f"]\n'
    (first, second) = image.stages(text)
    assert [(each.name, each.value) for each in first] == [("FROM", "a AS b"), ("RUN", "x && y")]
    assert second[1].words == ["d", "e f"]
