"""Run by the runtime interpreter: imports all that settings can switch on, and uses the services they name.

It prints one line for each thing that is missing. Nothing of the tests is imported, for they need more.
"""

import ast
import importlib
import importlib.metadata
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
POOLS = ("threads", "prefork", "solo")
# a.b, a.b.C and a.b:C.
_DOTTED = re.compile(r"[a-z]\w*(\.\w+)+(:\w+)?")
# Dotted, and no code: a file, and what Django calls its own checks.
_NO_CODE = re.compile(r".*\.sqlite3|.*\.[EWIC]\d{3}")


def packages() -> list[str]:
    """The packages of the checkout that are ours to run."""
    found = [path.parent.name for path in ROOT.glob("*/__init__.py")]
    return sorted(set(found) - {"tests", "bench"})


def modules() -> Iterator[str]:
    """Each module of ours but those that act when they are imported."""
    for package in packages():
        yield package
        for found in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if not found.name.endswith(".__main__"):
                yield found.name


def written(source: str) -> Iterator[str]:
    """The dotted names in this code, of whichever branch. Keys name loggers, for example."""
    tree = ast.parse(source)
    keys = {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in keys:
            yield from _dotted(node.value)


def chosen(value: Any) -> Iterator[str]:
    """The dotted names in the settings as they are read."""
    if isinstance(value, str):
        yield from _dotted(value)
    elif isinstance(value, dict):
        for each in value.values():
            yield from chosen(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from chosen(each)


def _dotted(text: str) -> Iterator[str]:
    if _DOTTED.fullmatch(text) and not _NO_CODE.fullmatch(text):
        yield text


def resolve(name: str) -> None:
    """Imports a module, or the module that has the last names; raises ImportError or AttributeError."""
    path = name.replace(":", ".").split(".")
    for length in range(len(path), 0, -1):
        module = ".".join(path[:length])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            # What is missing is the name itself, and not something that it imports.
            if length > 1 and error.name is not None and module.startswith(error.name):
                continue
            raise
        for attribute in path[length:]:
            found = getattr(found, attribute)
        return


def distributions() -> Iterator[str]:
    """Whatever is installed for this interpreter, as name==version."""
    for found in importlib.metadata.distributions():
        yield f"{re.sub(r'[-_.]+', '-', found.metadata['Name']).lower()}=={found.version}"


def use() -> None:
    """Connects to what the settings name, as the processes do."""
    from celery.concurrency import get_implementation
    from django.conf import settings
    from django.core.cache import cache
    from django.db import connection

    from config.celery import app

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    cache.set("takeone-imports", 1, 10)
    assert cache.get("takeone-imports") == 1
    cache.delete("takeone-imports")
    app.loader.import_default_modules()
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        assert entry["task"] in app.tasks, entry
    for pool in POOLS:
        get_implementation(pool)
    with app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, timeout=5)
        # A queue that no worker reads, emptied again.
        with broker.SimpleQueue("takeone.imports") as queue:
            queue.put({"sent": True})
            assert queue.get(timeout=5).payload == {"sent": True}
            queue.clear()
    # TLS to Redis is another name of the same transport.
    app.connection("rediss://127.0.0.1:1/0?ssl_cert_reqs=CERT_NONE").transport  # noqa: B018


def main() -> int:
    """1 if anything is missing."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django
    from django.apps import apps

    django.setup()
    from config import settings
    from config.celery import app

    app.loader.import_default_modules()
    read = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
    names = {*modules(), *chosen(read)}
    config = ROOT / "config"
    for file in (*(config / "settings").glob("*.py"), config / "server.py", config / "celery.py"):
        names.update(written(file.read_text()))
    missing = []
    # Neither is an import: a task is published by its name, and a model has a label.
    labels = {model._meta.label for model in apps.get_models()}
    for name in sorted(names - set(app.tasks) - labels):
        try:
            resolve(name)
        except (ImportError, AttributeError) as error:
            missing.append(f"{name}: {type(error).__name__}: {error}")
    print("\n".join(missing), end="\n" if missing else "")
    if not missing:
        use()
        print(f"Imported {len(names)} names.")
    return 1 if missing else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["installed"]:
        print("\n".join(sorted(distributions())))
    else:
        sys.exit(main())
