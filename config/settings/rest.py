"""The REST API and its schema."""

from config import env
from config.settings.service import VERSION

REST_FRAMEWORK = {
    # The key first: a request that carries one is judged by it alone.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.keys.authentication.ApiKeyAuthentication",
        "accounts.sessions.cookies.CookieAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "accounts.keys.permissions.HasScope",
    ],
    "DEFAULT_PARSER_CLASSES": ["api.requests.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["api.rendering.OrjsonRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "api.requests.AlwaysJSON",
    "DEFAULT_THROTTLE_CLASSES": ["accounts.limits.throttles.CallerThrottle"],
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "api.errors.render",
    "UNICODE_JSON": True,
}
# Calls per minute that an API key, a person or an unknown caller's address may make; 0 sets no limit.
RATE_LIMIT_READS_PER_MINUTE = env.integer("RATE_LIMIT_READS_PER_MINUTE", 600, least=0, most=1_000_000)
RATE_LIMIT_CREATES_PER_MINUTE = env.integer("RATE_LIMIT_CREATES_PER_MINUTE", 120, least=0, most=1_000_000)
RATE_LIMIT_LOGINS_PER_MINUTE = env.integer("RATE_LIMIT_LOGINS_PER_MINUTE", 20, least=0, most=1_000_000)
# Of an address: what is refused before its caller is known.
RATE_LIMIT_REFUSALS_PER_MINUTE = env.integer("RATE_LIMIT_REFUSALS_PER_MINUTE", 60, least=0, most=1_000_000)

SPECTACULAR_SETTINGS = {
    "PATH_CONVERTER_OVERRIDES": {"anyuuid": {"type": "string", "format": "uuid"}},
    "TITLE": "Take One",
    "VERSION": VERSION,
    "DESCRIPTION": "Video generation jobs that are rendered once, paid once and never lost.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.openapi.envelope.describe_envelope",
        "config.openapi.defaults.say_defaults",
    ],
    "ENUM_NAME_OVERRIDES": {
        "JobStatus": "videos.states.JobStatus",
        "BatchStatus": "batches.progress.BatchStatus",
        "ApiKeyScope": "accounts.models.ApiKey.Scope",
        "ApiKeyStatus": "accounts.models.ApiKey.Status",
    },
    "TAGS": [
        {"name": "videos", "description": "Ask for videos, follow them, fetch them."},
        {"name": "batches", "description": "Ask for many at once: JSON, CSV or JSON Lines."},
        {"name": "keys", "description": "Make, list and revoke API keys; needs the scope admin."},
        {"name": "generate", "description": "The same jobs in a plainer form."},
        {
            "name": "sessions",
            "description": "For people: register, log in and out; the session is in cookies.",
        },
        {"name": "hooks", "description": "For the upstream, which signs what it sends."},
        {"name": "health", "description": "For probes and monitoring; no key needed."},
    ],
}
