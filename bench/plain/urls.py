"""A ModelViewSet behind a router."""

from rest_framework.pagination import PageNumberPagination
from rest_framework.routers import DefaultRouter
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from bench.plain.models import PlainVideo


class VideoSerializer(ModelSerializer[PlainVideo]):
    """All fields."""

    class Meta:
        model = PlainVideo
        fields = "__all__"


class Pages(PageNumberPagination):
    """A hundred at a time."""

    page_size = 100


class VideoViewSet(ModelViewSet[PlainVideo]):
    """Makes, reads and lists."""

    queryset = PlainVideo.objects.order_by("-created_at")
    serializer_class = VideoSerializer
    pagination_class = Pages


router = DefaultRouter()
router.register("videos", VideoViewSet)
urlpatterns = router.urls
