"""Addresses of the plain API of jobs, below /api/videos."""

from django.urls import path

from compat.views import FlatJobView, GenerateView

urlpatterns = [
    path("generate", GenerateView.as_view(), name="generate"),
    path("<anyuuid:jobId>", FlatJobView.as_view(), name="flat-job"),
]
