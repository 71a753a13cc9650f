"""Settings with which no process starts."""

from typing import Final

from tests.faults.guards.guard import Guard

_START: Final = "config/start.py"
_TESTS: Final = "tests/e2e/test_start.py"

GUARDS: Final = (
    Guard(
        "no web server starts with settings that break a rule",
        "config/wsgi.py",
        "refuse_bad_settings()\n",
        "",
        f"{_TESTS} -k wsgi",
    ),
    Guard(
        "no worker and no beat starts with settings that break a rule",
        "config/celery.py",
        "@import_modules.connect\ndef refuse",
        "def refuse",
        f"{_TESTS} -k worker",
    ),
    Guard(
        "no worker and no beat starts with settings that are nonsense",
        "config/celery.py",
        "    read_settings()\n",
        "    pass\n",
        f"{_TESTS} -k beat",
    ),
    Guard(
        "gunicorn says once why it does not start",
        "config/server.py",
        '    if not _EMBEDDED and subprocess.run([sys.executable, "-c", "import config.wsgi"]).returncode:\n',
        "    if False:\n",
        f"{_TESTS} -k gunicorn",
    ),
    Guard(
        "a web process that cannot start is not started again and again",
        _START,
        "_CANNOT_BOOT: Final = 3",
        "_CANNOT_BOOT: Final = 1",
        f"{_TESTS} -k again",
    ),
    Guard(
        "every rule between settings is looked at",
        "upstreams/checks.py",
        '@register("settings")\n',
        "@register()\n",
        f"{_TESTS} -k rule",
    ),
)
