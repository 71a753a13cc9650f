"""The addresses that a newcomer types first lead somewhere."""

import pytest
from django.test import Client

from accounts.models import User


@pytest.mark.parametrize(("typed", "leads_to"), [("/", "/docs"), ("/admin", "/admin/")])
def test_it_leads_on(client: Client, typed: str, leads_to: str) -> None:
    for method in ("GET", "HEAD"):
        answer = client.generic(method, typed)
        assert (answer.status_code, answer["Location"]) == (302, leads_to)
    answer = client.post(typed)
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_a_redirect_takes_no_key_along(client: Client) -> None:
    assert client.get("/?api_key=hunter2")["Location"] == "/docs"


@pytest.mark.django_db
def test_view_site_of_the_admin_leads_to_a_page(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    page = client.get("/admin/")
    assert page.context["site_url"] == "/"
    assert client.get(page.context["site_url"], follow=True).status_code == 200
