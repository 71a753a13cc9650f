"""Addresses that receive events."""

from django.urls import path

from webhooks.views import SoraHookView

urlpatterns = [path("hooks/sora", SoraHookView.as_view(), name="hook-sora")]
