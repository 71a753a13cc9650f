"""Inserts of rows by statements that are compiled once."""

from functools import cache
from typing import Any, Final, NamedTuple, cast

from django.db import connection, models
from django.db.models.expressions import DatabaseDefault


class _Shape(NamedTuple):
    """Which columns of a table get values, and which get the keys of rows that are inserted before it."""

    model: type[models.Model]
    columns: tuple[str, ...]
    references: tuple[tuple[str, int], ...]


def insert(*rows: models.Model) -> None:
    """Inserts new rows as `save(force_insert=True)` does, but for signals, and sets their keys.

    All by one statement. A row may refer to one before it that has no key yet.
    """
    prepared = getattr(connection, "prepared_cursor", None)
    if prepared is None:
        for row in rows:
            # Takes over the keys that its relations have by now.
            row.save(force_insert=True)
        return
    shapes, values = [], []
    for row in rows:
        shape, its = _described(row, rows)
        shapes.append(shape)
        values += its
    with prepared() as cursor:
        cursor.execute(_statement(tuple(shapes)), values)
        keys = cursor.fetchone()
    for row, key, shape in zip(rows, keys, shapes, strict=True):
        row.pk = key
        row._state.adding = False
        row._state.db = connection.alias
        for name, number in shape.references:
            setattr(row, name, rows[number].pk)


def _described(row: models.Model, rows: tuple[models.Model, ...]) -> tuple[_Shape, list[Any]]:
    columns: list[str] = []
    values: list[Any] = []
    references: list[tuple[str, int]] = []
    for field in row._meta.concrete_fields:
        value = field.pre_save(row, add=True)
        # A value of the database is left to it.
        if isinstance(value, DatabaseDefault) or (field.primary_key and value is None):
            continue
        if value is None and isinstance(field, models.ForeignKey) and field.is_cached(row):
            related = field.get_cached_value(row)
            number = next((number for number, each in enumerate(rows) if each is related), None)
            if number is not None:
                references.append((field.attname, number))
                continue
        columns.append(str(field.column))
        values.append(field.get_db_prep_save(value, connection))
    return _Shape(type(row), tuple(columns), tuple(references)), values


_ROW: Final = "row{number} AS (INSERT INTO {table} ({names}) VALUES ({places}) RETURNING {key} AS key)"
_KEY: Final = "(SELECT key FROM row{number})"


@cache
def _statement(shapes: tuple[_Shape, ...]) -> str:
    """All names in it are those of models."""
    quote = connection.ops.quote_name
    parts, place = [], 0
    for number, (model, columns, references) in enumerate(shapes):
        related = [str(cast("Any", model._meta.get_field(name)).column) for name, _ in references]
        places = [f"${place + n}" for n in range(1, len(columns) + 1)]
        places += [_KEY.format(number=before) for _, before in references]
        place += len(columns)
        parts.append(
            _ROW.format(
                number=number,
                table=quote(model._meta.db_table),
                names=", ".join(map(quote, [*columns, *related])),
                places=", ".join(places),
                key=quote(str(model._meta.pk.column)),
            )
        )
    keys = (_KEY.format(number=number) for number in range(len(shapes)))
    return f"WITH {', '.join(parts)} SELECT {', '.join(keys)}"
