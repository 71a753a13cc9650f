"""Addresses of batches, below /api/v1."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from api.addresses.identifiers import ANY_CASE_UUID
from batches.api.content_view import BatchContentView
from batches.api.create_views import VideoBatchViewSet
from batches.api.views import BatchViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("batches", BatchViewSet, basename="batch")
urlpatterns = [
    path("videos/batch", VideoBatchViewSet.as_view({"post": "create"})),
    path("videos/batch/estimate", VideoBatchViewSet.as_view({"post": "estimate"})),
    path(f"batches/<{ANY_CASE_UUID}:pk>/content", BatchContentView.as_view()),
    *router.urls,
]
