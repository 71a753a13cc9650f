"""Addresses of jobs, below /api/v1."""

from rest_framework.routers import SimpleRouter

from videos.views import VideoViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("videos", VideoViewSet, basename="video")
urlpatterns = router.urls
