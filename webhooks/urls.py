"""Addresses that receive events."""

from django.urls import path

from videos.lifecycle.callbacks import PATH
from webhooks.callbacks import CallbackView
from webhooks.views import SoraHookView

urlpatterns = [
    path("hooks/sora", SoraHookView.as_view(), name="hook-sora"),
    path(f"{PATH}/<str:token>", CallbackView.as_view(), name="hook-callback"),
]
