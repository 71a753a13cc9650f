"""Inserts of single rows by statements that are compiled once."""

from functools import cache

from django.db import connection, models
from django.db.models.expressions import DatabaseDefault


def insert(row: models.Model) -> None:
    """Inserts a new row as `save(force_insert=True)` does, but for signals, and sets its key."""
    prepared = getattr(connection, "prepared_cursor", None)
    if prepared is None:
        row.save(force_insert=True)
        return
    # A value of the database is left to it.
    values = [
        (field, value)
        for field in row._meta.concrete_fields
        if not isinstance(value := field.pre_save(row, add=True), DatabaseDefault)
        and not (field.primary_key and value is None)
    ]
    statement = _statement(type(row), tuple(field.column for field, _ in values))
    with prepared() as cursor:
        cursor.execute(statement, [field.get_db_prep_save(value, connection) for field, value in values])
        (row.pk,) = cursor.fetchone()
    row._state.adding = False
    row._state.db = connection.alias


@cache
def _statement(model: type[models.Model], columns: tuple[str, ...]) -> str:
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, columns))
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    table, key = quote(model._meta.db_table), quote(str(model._meta.pk.column))
    # All of it is named by the model.
    return f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING {key}"  # noqa: S608
