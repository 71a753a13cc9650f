"""All addresses."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

urlpatterns = [
    path("api/v1/", include("videos.urls")),
    path("api/v1/", include("batches.urls")),
    path("api/v1/", include("accounts.urls")),
    path("api/videos/", include("videos.generate_urls")),
    path("api/auth/", include("accounts.session_urls")),
    path("", include("webhooks.urls")),
    path("", include("health.urls")),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("admin/", admin.site.urls),
]

handler400 = "config.errors.bad_request"
handler404 = "config.errors.not_found"
handler500 = "config.errors.server_error"
