"""Addresses of OpenAI's Videos API, below /v1."""

from django.urls import path

from compat.openai.content_view import ContentView
from compat.openai.from_source_views import CharactersView, EditsView, ExtensionsView, RemixView
from compat.openai.views import VideosView, VideoView

urlpatterns = [
    path("videos", VideosView.as_view(), name="openai-videos"),
    # Before the ids.
    path("videos/edits", EditsView.as_view(), name="openai-edits"),
    path("videos/characters", CharactersView.as_view(), name="openai-characters"),
    path("videos/extensions", ExtensionsView.as_view(), name="openai-extensions"),
    path("videos/<str:video_id>", VideoView.as_view(), name="openai-video"),
    path("videos/<str:video_id>/content", ContentView.as_view(), name="openai-content"),
    path("videos/<str:video_id>/remix", RemixView.as_view(), name="openai-remix"),
]
