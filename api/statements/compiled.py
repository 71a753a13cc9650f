"""Querysets that are compiled once.

Django compiles a queryset anew at each use. For a row of fifty columns that takes longer than the database
needs to answer.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from django.db import connection
from django.db.models import JSONField, QuerySet

# Stand-ins for parameters. No statement has such values by itself.
_INTEGER: Final = 8_141_592_653_589_793
_UUID: Final = 0x31415926535897932384626433832795
_TEXT: Final = "stand-in 3.141592653589793 "
_TIME: Final = datetime(3141, 5, 9, tzinfo=UTC)


_LONG_NUMBER: Final = re.compile(r"\d{19}")


class _Place(NamedTuple):
    """Which value of which parameter is sent in a place of the statement."""

    name: str
    element: int | None


@dataclass(frozen=True, slots=True)
class _Statement:
    sql: str
    # With PostgreSQL's own placeholders.
    prepared: str
    # A place, or the value that is always sent there.
    parameters: tuple[Any, ...]
    converters: Any
    compiler: Any


class Compiled:
    """A queryset of `values_list` with parameters: integers, UUIDs, texts, times, and lists of them.

    `build` makes it from the parameters. The statement may depend only on their names, their types and the
    lengths of lists. It is compiled once for each of these.
    """

    def __init__(self, build: Callable[..., QuerySet[Any, Any]]) -> None:
        self._build = build
        self._statements: dict[Any, _Statement] = {}

    def rows(self, **given: Any) -> list[tuple[Any, ...]]:
        """The rows, as the queryset would give them."""
        shape = tuple(
            (name, (type(value[0]), len(value)) if isinstance(value, list) else type(value))
            for name, value in given.items()
        )
        statement = self._statements.get(shape)
        if statement is None:
            statement = self._statements[shape] = self._compiled(given)
        sent = [
            _adapted(given[each.name] if each.element is None else given[each.name][each.element])
            if isinstance(each, _Place)
            else each
            for each in statement.parameters
        ]
        # SQLite has none.
        prepared = getattr(connection, "prepared_cursor", None)
        with prepared() if prepared else connection.cursor() as cursor:
            cursor.execute(statement.prepared if prepared else statement.sql, sent)
            found = cursor.fetchall()
        if statement.converters:
            return list(map(tuple, statement.compiler.apply_converters(found, statement.converters)))
        return list(found)

    def _compiled(self, given: Mapping[str, Any]) -> _Statement:
        numbers = count()
        places: dict[Any, _Place] = {}

        def stand_in(value: Any, name: str, element: int | None = None) -> Any:
            found = _stand_in(type(value), next(numbers))
            places[_adapted(found)] = _Place(name, element)
            return found

        stand_ins = {
            name: [stand_in(each, name, index) for index, each in enumerate(value)]
            if isinstance(value, list)
            else stand_in(value, name)
            for name, value in given.items()
        }
        compiler = self._build(**stand_ins).query.get_compiler(connection=connection)
        sql, values = compiler.as_sql()
        parameters = tuple(places.get(value, value) if _is_hashable(value) else value for value in values)
        if missing := set(places.values()).difference(
            each for each in parameters if isinstance(each, _Place)
        ):
            raise ValueError(f"These are not in the statement: {missing}.")
        chosen = [column for column, *_ in compiler.select[: compiler.col_count]]
        converters = compiler.get_converters(chosen)
        for column, (found, expression) in converters.items():
            field = expression.output_field
            if isinstance(field, JSONField) and field.decoder is None and len(found) == 1:
                converters[column] = ([_read_json], expression)
        return _Statement(sql, _numbered(sql), parameters, converters, compiler)


def _read_json(text: str | None, *_: Any) -> Any:
    """As the field does it, several times as fast."""
    if text is None:
        return None
    # A number beyond 64 bits would become a fraction.
    return json.loads(text) if _LONG_NUMBER.search(text) else orjson.loads(text)


def _numbered(sql: str) -> str:
    numbers = count(1)
    return re.sub("%[%s]", lambda found: "%" if found[0] == "%%" else f"${next(numbers)}", sql)


def _stand_in(kind: type, number: int) -> Any:
    if kind is int:
        return _INTEGER + number
    if kind is UUID:
        return UUID(int=_UUID + number)
    if kind is str:
        return f"{_TEXT}{number}"
    if kind is datetime:
        return _TIME + timedelta(seconds=number)
    raise TypeError(f"There is no stand-in for {kind.__name__}.")


def _adapted(value: Any) -> Any:
    """As Django gives it to the database's driver."""
    if isinstance(value, UUID) and not connection.features.has_native_uuid_field:
        return value.hex
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
