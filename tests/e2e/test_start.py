"""No process starts with settings that it could not work with."""

import subprocess
from pathlib import Path

import pytest
from django.apps import apps
from django.core.checks.registry import registry

from config.startup.refusals import RULES
from tests import runtime
from tests.e2e.processes import run
from tests.services import ROOT, environment_without_settings, free_port
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.e2e

CELERY = ["-m", "celery", "-A", "config"]
PROGRAMS = {
    "wsgi": ["-c", "import config.wsgi"],
    "gunicorn": ["-m", "gunicorn", "-c", "python:config.server", "config.wsgi"],
    "gunicorn by itself": ["-m", "gunicorn", "--no-control-socket", "-b", "127.0.0.1:0", "config.wsgi"],
    "worker": [*CELERY, "worker", "-P", "threads"],
    "beat": [*CELERY, "beat"],
    "up": ["-m", "config.embedded.up", "--port"],
    "work": ["manage.py", "work"],
}
PRICES = {"SORA_PRICES": '{"sora-2": {"1280x720": "-1"}}'}
NONSENSE = {"SORA_TIMEOUT": "soon"}


def ended(name: str, var: Path, changed: dict[str, str]) -> subprocess.CompletedProcess[str]:
    port = str(free_port())
    settings = {"TAKEONE_VAR": str(var), "TAKEONE_BIND": f"127.0.0.1:{port}"}
    return subprocess.run(
        [runtime.interpreter(), *PROGRAMS[name], *([port] if name == "up" else [])],
        cwd=ROOT,
        env=runtime.environment(environment_without_settings()) | settings | changed,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


@pytest.mark.parametrize("name", ["wsgi", "gunicorn", "worker", "beat"])
@pytest.mark.parametrize("changed", [PRICES, NONSENSE], ids=["a rule", "nonsense"])
def test_a_process_refuses_bad_settings_by_one_line(
    name: str, changed: dict[str, str], tmp_path: Path
) -> None:
    done = ended(name, tmp_path, changed)
    assert done.returncode > 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Take One does not start. {next(iter(changed))}")


@pytest.mark.parametrize("name", ["WEB_WORKERS", "WEB_THREADS", "WEB_CONNECTIONS"])
def test_the_web_server_refuses_a_bad_count_by_one_line(name: str, tmp_path: Path) -> None:
    done = ended("gunicorn", tmp_path, {name: "0"})
    assert done.returncode > 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Take One does not start. {name} must be")


def test_a_web_process_that_refuses_is_not_started_again(tmp_path: Path) -> None:
    done = ended("gunicorn by itself", tmp_path, PRICES)
    assert done.returncode == 3
    assert done.stderr.count("Take One does not start. SORA_PRICES") == 1


@pytest.mark.parametrize("name", ["up", "work"])
def test_a_command_refuses_them_as_well(name: str, tmp_path: Path) -> None:
    done = ended(name, tmp_path, PRICES)
    assert done.returncode > 0
    assert "SORA_PRICES" in done.stderr
    assert "Traceback" not in done.stderr


def test_good_settings_are_taken(tmp_path: Path) -> None:
    run(["manage.py", "migrate", "--verbosity", "0"], {"TAKEONE_VAR": str(tmp_path)})
    done = ended("wsgi", tmp_path, {})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_rule_of_ours_is_looked_at_and_asks_no_database() -> None:
    ours = {config.name for config in apps.get_app_configs() if Path(config.path).parent == ROOT}
    rules = [check for check in registry.get_checks() if check.__module__.partition(".")[0] in ours]
    assert rules
    assert [each.__name__ for each in rules if tuple(each.tags) != (RULES,)] == []
