"""Addresses of jobs, below /api/v1."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from api.addresses.identifiers import ANY_CASE_UUID
from videos.api.content.view import ContentView
from videos.api.images_view import ImagesView
from videos.api.models_view import ModelsView
from videos.api.usage_views import UsageView
from videos.api.views import VideoViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("videos", VideoViewSet, basename="video")
urlpatterns = [
    *router.urls,
    path(f"videos/<{ANY_CASE_UUID}:pk>/content", ContentView.as_view(), name="content"),
    path("images", ImagesView.as_view(), name="images"),
    path("models", ModelsView.as_view(), name="models"),
    path("usage", UsageView.as_view(), name="usage"),
]
