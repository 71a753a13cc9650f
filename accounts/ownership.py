"""Which rows a caller can reach."""

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework.exceptions import PermissionDenied

from accounts.models import User

T = TypeVar("T", bound=Model)


def owned_by(rows: QuerySet[T], owner: User, *, through: str = "") -> QuerySet[T]:
    """The rows that belong to the owner, directly or by `through`, such as "job__" for rows of a job.

    Every list and every lookup of a caller uses this.
    """
    return rows.filter(**{f"{through}owner": owner})


def get_owned(rows: QuerySet[T], owner: User, pk: Any, *, through: str = "", reveals: bool = False) -> T:
    """One row of the owner's, by owned_by.

    Raises Http404 for any other row. With `reveals`, raises PermissionDenied if it belongs to somebody else.
    """
    row = owned_by(rows, owner, through=through).filter(pk=pk).first()
    if row is not None:
        return row
    if reveals and rows.filter(pk=pk).exists():
        raise PermissionDenied("This belongs to somebody else.")
    raise Http404
