"""Refuses to start with settings or a database that cannot be used, and says why in one line.

Django itself checks the rules between settings only in `manage.py`. They have the tag `settings`, are quick,
and ask no database.
"""

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import django
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands

RULES: Final = "settings"
# By this gunicorn knows a worker that cannot boot, and starts no other in its place.
_CANNOT_BOOT: Final = 3


def read_settings() -> None:
    """Reads the settings; ends the process if one of them cannot be used."""
    from django.conf import settings

    try:
        _ = settings.INSTALLED_APPS
    except (ImproperlyConfigured, ValueError) as error:
        end(str(error))


def refuse_to_start_badly() -> None:
    """Loads the apps; ends the process if a setting cannot be used or the database has another schema."""
    refuse_bad_settings()
    from config.startup.schema import schema_fault

    if fault := schema_fault():
        end(fault)


def refuse_bad_settings() -> None:
    """Loads the apps; ends the process if a setting cannot be used or breaks a rule."""
    read_settings()
    django.setup()
    broken = [each for each in run_checks(tags=[RULES]) if each.is_serious() and not each.is_silenced()]
    if broken:
        end(" ".join(f"{each.msg} {each.hint or ''}".strip() for each in broken))


def refuse_command(arguments: Sequence[str]) -> None:
    """As refuse_to_start_badly, for our own `manage.py` commands. Django's commands work with any schema."""
    read_settings()
    django.setup()
    from config.startup.schema import own_apps

    if arguments and get_commands().get(arguments[0]) in own_apps():
        refuse_to_start_badly()


def end(line: str) -> NoReturn:
    """Ends the process with this reason."""
    sys.stderr.write(f"Take One does not start. {line}\n")
    raise SystemExit(_CANNOT_BOOT)
