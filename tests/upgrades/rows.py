"""Rows of a database as plain INSERTs, which PostgreSQL and SQLite both take."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection, models, transaction

_OURS: Final = ("accounts", "batches", "health", "upstreams", "videos")
_FORM: Final = "%Y-%m-%d %H:%M:%S.%f"
_MOMENT: Final = re.compile(r"'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6})'")
_INSERT: Final = re.compile(r"INSERT INTO (\w+) \(([^)]*)\)")


def our_models() -> list[type[models.Model]]:
    """The models whose rows are kept."""
    return [model for model in apps.get_models() if model._meta.app_label in _OURS]


def write(path: Path) -> None:
    """Writes all rows of our tables; the first line says when."""
    now = datetime.now(UTC).strftime(_FORM)
    path.write_text(f"-- '{now}'\n" + "".join(f"{line}\n" for line in _inserts()))


def _inserts() -> Iterator[str]:
    for model in our_models():
        fields = model._meta.concrete_fields
        columns = ", ".join(f'"{field.column}"' for field in fields)
        for row in model._default_manager.order_by("pk"):
            values = ", ".join(_literal(field, getattr(row, field.attname)) for field in fields)
            yield f"INSERT INTO {model._meta.db_table} ({columns}) VALUES ({values});"


def _literal(field: Any, value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(field, models.JSONField):
        return _quoted(json.dumps(value))
    match value:
        case bool():
            return str(value).upper()
        case int() | float() | Decimal():
            return str(value)
        case datetime():
            return _quoted(value.astimezone(UTC).strftime(_FORM))
        case date():
            return _quoted(value.isoformat())
        case UUID():
            # As SQLite keeps it; PostgreSQL reads it as well.
            return _quoted(value.hex)
    return _quoted(str(value))


def _quoted(text: str) -> str:
    if "\n" in text:
        raise ValueError(f"one row is one line: {text!r}")
    return "'" + text.replace("'", "''") + "'"


def load(path: Path) -> None:
    """Puts the rows into their empty tables, as if they had been written a minute ago."""
    text = path.read_text()
    written = datetime.strptime(_MOMENT.findall(text)[0], _FORM)
    later = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=1) - written

    def moved(match: re.Match[str]) -> str:
        return f"'{(datetime.strptime(match[1], _FORM) + later).strftime(_FORM)}'"

    lines = _MOMENT.sub(moved, text).splitlines()[1:]
    with transaction.atomic(), connection.cursor() as cursor:
        for line in lines:
            cursor.execute(line)
        # The tables are of an older release than the models, but for what they are called.
        present = set(connection.introspection.table_names(cursor))
        for statement in connection.ops.sequence_reset_sql(
            no_style(), [model for model in our_models() if model._meta.db_table in present]
        ):
            cursor.execute(statement)


def read(path: Path) -> dict[str, list[list[str]]]:
    """What the tables hold in the columns that the rows have, as text, in the order of the first column."""
    tables = {match[1]: match[2] for match in map(_INSERT.match, path.read_text().splitlines()) if match}
    found = {}
    with connection.cursor() as cursor:
        for table, columns in tables.items():
            cursor.execute(f"SELECT {columns} FROM {table} ORDER BY 1")
            found[table] = [[str(value) for value in row] for row in cursor.fetchall()]
    return found
