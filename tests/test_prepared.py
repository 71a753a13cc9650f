"""Statements that are compiled and planned once, and rows that are inserted by them."""

from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, IdempotencyKey, Reservation, User
from api.statements.compiled import Compiled
from api.statements.inserts import insert
from config.databases.postgresql.base import DatabaseWrapper, PreparedCursor
from videos.models import Group, Job
from videos.reads.rows import rows_of


def prepared_statements() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        return int(cursor.fetchone()[0])


@pytest.mark.postgres
@pytest.mark.django_db
@pytest.mark.parametrize("is_wished", [True, False])
def test_what_is_asked_each_time_is_planned_once(owner: User, settings: Settings, is_wished: bool) -> None:
    settings.DATABASE_PREPARE = is_wished
    names = Compiled(lambda pk: User.objects.filter(pk=pk).values_list("username", "first_name", "last_name"))
    before = prepared_statements()
    assert names.rows(pk=owner.pk) == names.rows(pk=owner.pk) == [("ada", "", "")]
    assert prepared_statements() == before + is_wished
    assert connection.connection.prepare_threshold is None, "Django's own statements are not prepared"


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_behind_a_pooler_that_forgets_statements_none_is_prepared_any_more(
    owner: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(PreparedCursor, "_prepares", True)
    names = Compiled(lambda pk: User.objects.filter(pk=pk).values_list("username", "date_joined"))
    expected = names.rows(pk=owner.pk)

    def forget() -> None:
        # psycopg would hear of a plain DEALLOCATE.
        with connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")

    forget()
    assert names.rows(pk=owner.pk) == expected
    assert "not prepared any more" in caplog.text
    assert prepared_statements() == 0
    assert names.rows(pk=owner.pk) == expected
    # In a transaction nothing can be asked again: the caller is told to send its request once more.
    connection.close()
    monkeypatch.setattr(PreparedCursor, "_prepares", True)
    names.rows(pk=owner.pk)
    forget()
    with pytest.raises(OperationalError), transaction.atomic():
        names.rows(pk=owner.pk)
    assert names.rows(pk=owner.pk) == expected


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_has_answered_just_now_is_not_asked_whether_it_lives(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    usable = DatabaseWrapper.is_usable
    monkeypatch.setattr(DatabaseWrapper, "is_usable", lambda self: asked.append(1) or usable(self))
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
    connection.close()
    assert User.objects.exists()
    connection.health_check_enabled, connection.health_check_done = True, False
    assert User.objects.exists()
    assert not asked
    connection.health_check_done = False
    connection.connection.answered_at -= 1
    assert User.objects.exists()
    assert asked


@pytest.mark.django_db
def test_a_row_is_inserted_as_django_does_it(job: Job, owner: User) -> None:
    group = Group.objects.create(owner=owner, limit=3)
    values: dict[str, Any] = {
        field.attname: getattr(job, field.attname)
        for field in Job._meta.concrete_fields
        if field.attname not in {"id", "reservation_id"}
    }
    values |= {
        "group_id": group.pk,
        "metadata": {"n": 10**30, "t": "\u2028 é %s $1"},
        "fps": 24,
        "held": True,
    }
    first, second = Job(**values), Job(**values)
    first.save(force_insert=True)
    insert(second)
    assert not second._state.adding
    pairs = [Job.objects.values().get(pk=each.pk) for each in (first, second)]
    for each in pairs:
        each.pop("id")
    assert pairs[0] == pairs[1]
    # A value of the database, and a key of the database.
    kept = IdempotencyKey(owner=owner, key="k", request_hash="h")
    insert(kept)
    assert IdempotencyKey.objects.get(pk=kept.pk).created_at is not None


@pytest.mark.django_db
def test_numbers_of_any_length_are_read_as_they_are(job: Job) -> None:
    given = {"big": 10**30, "edge": 2**63, "least": -(2**63), "share": 0.1, "text": "1" * 30, "none": None}
    Job.objects.filter(pk=job.pk).update(metadata=given)
    (row,) = rows_of([job.pk])
    assert row.metadata == given
    assert type(row.metadata["edge"]) is int


@pytest.mark.django_db
def test_rows_are_inserted_together_and_refer_to_each_other(
    owner: User, django_assert_num_queries: Any
) -> None:
    key = ApiKey(owner=owner, name="one", scope="read", prefix="to", digest="0" * 64)
    first, second = (Reservation(owner=owner, api_key=key, amount=1, made_on="2026-11-27") for _ in range(2))
    kept = IdempotencyKey(owner=owner, key="k", request_hash="h", answer={"a": [1, None, "ü"]})
    with django_assert_num_queries(1 if connection.vendor == "postgresql" else 4):
        insert(key, first, second, kept)
    assert len({key.pk, first.pk, second.pk, kept.pk}) >= 2
    for row in (key, first, second, kept):
        assert not row._state.adding
        row.refresh_from_db()
    assert first.api_key_id == second.api_key_id == key.pk
    assert first.pk != second.pk
    assert kept.answer == {"a": [1, None, "ü"]}
    # Rows that are there, and rows that are not, are referred to by other rows the next time.
    third = Reservation(owner=owner, api_key=key, amount=2, made_on="2026-11-27")
    insert(third)
    assert Reservation.objects.get(amount=2).api_key == key
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(Reservation(owner=owner, amount=3, made_on="2026-11-27"), IdempotencyKey(owner=owner, key="k"))
    assert not Reservation.objects.filter(amount=3).exists()


@pytest.mark.django_db
def test_a_job_comes_with_its_reservation_and_its_history(api: Client, owner: User) -> None:
    answer = api.post("/api/v1/videos", {"prompt": "boat", "duration": 4}, content_type="application/json")
    job = Job.objects.get(pk=answer.json()["data"]["jobId"])
    assert job.reservation is not None
    assert (job.reservation.amount, job.reservation.owner) == (job.estimated_cost, owner)
    assert list(job.events.values_list("number", "to_state")) == [(1, "pending")]
