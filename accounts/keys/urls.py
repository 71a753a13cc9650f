"""Addresses of API keys, below /api/v1."""

from rest_framework.routers import SimpleRouter

from accounts.keys.views import KeyViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("keys", KeyViewSet, basename="key")
urlpatterns = router.urls
