"""All addresses."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from accounts.sessions.admin_views import log_in_by_link
from config.redirects import redirect_to

urlpatterns = [
    path("api/v1/", include("videos.api.urls")),
    path("api/v1/", include("batches.api.urls")),
    path("api/v1/", include("accounts.keys.urls")),
    path("api/videos/", include("compat.urls")),
    path("v1/", include("compat.openai.urls")),
    path("api/auth/", include("accounts.sessions.urls")),
    path("", include("webhooks.urls")),
    path("", include("health.urls")),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("admin/login-link", log_in_by_link, name="login-link"),
    path("admin/", admin.site.urls),
    path("admin", redirect_to("/admin/")),
    # Until there is a page for people. "View site" in the admin leads here, too.
    path("", redirect_to("/docs")),
]

handler400 = "api.errors.bad_request"
handler404 = "api.errors.not_found"
handler500 = "api.errors.server_error"
