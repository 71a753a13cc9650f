"""Wiring: settings, URLs, the web and Celery applications."""

# Loaded with Django, so that a task published from a request knows its broker.
from config.celery import app as celery_app

__all__ = ["celery_app"]
