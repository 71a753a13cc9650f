"""Addresses of the plain API of jobs, below /api/videos."""

from django.urls import path

from api.addresses.identifiers import ANY_CASE_UUID
from compat.views import FlatJobView, GenerateView

urlpatterns = [
    path("generate", GenerateView.as_view(), name="generate"),
    path(f"<{ANY_CASE_UUID}:jobId>", FlatJobView.as_view(), name="flat-job"),
]
