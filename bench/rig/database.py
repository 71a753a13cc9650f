"""A PostgreSQL database for one benchmark, with Django set up on it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from psycopg import sql

from tests import services


@contextmanager
def prepared(**settings: str) -> Iterator[dict[str, str]]:
    """Provides the environment of a fresh, migrated database on the PostgreSQL of the tests.

    Raises SystemExit if there is none.
    """
    with services.postgresql(os.environ.get("TAKEONE_TEST_SERVICES", "") or "any") as found:
        if not found.url:
            raise SystemExit(f"The benchmarks need PostgreSQL. {found.line}")
        name = f"takeone_bench_{uuid.uuid4().hex[:8]}"
        url = urlsplit(found.url)._replace(path=f"/{name}").geturl()
        with services.connect(found.url) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        environment = {"DATABASE_URL": url, "SECRET_KEY": uuid.uuid4().hex * 2, **settings}
        os.environ |= environment | {"DJANGO_SETTINGS_MODULE": "config.settings", "LOG_LEVEL": "WARNING"}
        os.environ.pop("REDIS_URL", None)
        try:
            import django
            from django.core.management import call_command

            django.setup()
            call_command("migrate", verbosity=0)
            yield environment
        finally:
            from django.db import connections

            connections.close_all()
            with services.connect(found.url) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
