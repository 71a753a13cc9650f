import pytest
from django.test import Client

from accounts.models import User
from tests.batches.conftest import MakeBatch

pytestmark = pytest.mark.django_db


def test_operators_read_batches_and_change_none(make_batch: MakeBatch) -> None:
    batch = make_batch(1, name="Autumn")
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator"))
    assert "Autumn" in operator.get("/admin/batches/batch/", {"q": "Autumn"}).content.decode()
    address = f"/admin/batches/batch/{batch.pk}/change/"
    page = operator.get(address).content.decode()
    assert "created" in page
    assert operator.post(address, {"name": "x"}).status_code == 403
    jobs = operator.get("/admin/videos/job/", {"q": str(batch.pk)}).content.decode()
    assert str(batch.group.jobs.get().pk) in jobs
