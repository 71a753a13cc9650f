"""The upstream that renders, and how jobs and batches use it."""

from config import env

# A file with several upstreams (upstreams.configuration.toml_file). Then no SORA_* setting names one.
UPSTREAMS_FILE = env.text("UPSTREAMS_FILE")
_SIMULATOR_URL = env.url("TAKEONE_SIMULATOR_URL")
SORA_BASE_URL = env.url("SORA_BASE_URL", _SIMULATOR_URL or "http://127.0.0.1:9000/v1")
# The simulator's own address in the environment (`make up` writes it there) is no choice of an upstream.
SORA_BASE_URL_CHOSEN = bool(env.url("SORA_BASE_URL")) and SORA_BASE_URL != _SIMULATOR_URL
SORA_PROVIDER = env.text("SORA_PROVIDER", "" if SORA_BASE_URL_CHOSEN else "simulator")
_SIMULATED = SORA_PROVIDER == "simulator" and not UPSTREAMS_FILE
SORA_API_KEY = env.text("SORA_API_KEY", "simulator" if _SIMULATED else "")
SORA_DIALECT = env.text("SORA_DIALECT", "openai")
SORA_MODEL = env.text("SORA_MODEL")
# The environment gives milliseconds, as BATCH_TIMEOUT does; the code counts in seconds.
SORA_TIMEOUT = env.number("SORA_TIMEOUT", 60_000, least=100, most=3_600_000) / 1000
SORA_RETRY_DELAY = env.number("SORA_RETRY_DELAY", 1_000, least=1, most=60_000) / 1000
SORA_MAX_RETRIES = env.integer("SORA_MAX_RETRIES", 3, least=0, most=20)
SORA_CONCURRENCY = env.integer("SORA_CONCURRENCY", 4, least=1, most=10_000)
# Creates per minute, over all workers; 0 sets no limit.
SORA_REQUESTS_PER_MINUTE = env.integer("SORA_REQUESTS_PER_MINUTE", 0, least=0, most=100_000)
# Failed creates in a row after which one at a time is tried, at growing distances.
SORA_BREAKER_FAILURES = env.integer("SORA_BREAKER_FAILURES", 5, least=1, most=1_000)
# How many jobs of one owner may wait, and may be live upstream, at a time; 0 sets no limit.
MAX_QUEUED_JOBS = env.integer("MAX_QUEUED_JOBS", 0, least=0, most=10_000_000)
MAX_IN_FLIGHT_JOBS = env.integer("MAX_IN_FLIGHT_JOBS", 0, least=0, most=10_000)
SORA_BILLS_FAILED = env.flag("SORA_BILLS_FAILED")
SORA_PRICES = env.text("SORA_PRICES")
# Searches of the upstream's list after a create of unknown outcome, in seconds after it became unknown.
SORA_RECONCILE_SECONDS = env.numbers(
    "SORA_RECONCILE_SECONDS", [2, 5, 15] if _SIMULATED else [5, 30, 120, 600], most=86_400
)
# After so many seconds without a comparison, our books are compared with the upstream's list before a create.
SORA_BOOKS_GAP = env.number("SORA_BOOKS_GAP", 300, least=1, most=86_400)
SORA_CLOCK_SKEW = env.number("SORA_CLOCK_SKEW", 10, least=0, most=3600)
# After so many seconds without an answer a worker asks whether the upstream is there.
SORA_CONTACT_SECONDS = env.number("SORA_CONTACT_SECONDS", 5, least=1, most=3600)
# How often renders are asked after: a fifth of their age, within these bounds, in seconds.
SORA_SYNC_SECONDS_MIN = env.number("SORA_SYNC_SECONDS_MIN", 1 if _SIMULATED else 5, least=0.2, most=3600)
SORA_SYNC_SECONDS_MAX = env.number("SORA_SYNC_SECONDS_MAX", 15, least=0.2, most=3600)
# The public address of this service, for upstreams that tell the end of a render to an address in its create.
UPSTREAM_CALLBACK_URL = env.url("UPSTREAM_CALLBACK_URL", schemes=("https",))
# What signs the upstream's webhooks; without one, /hooks/sora is not there.
SORA_WEBHOOK_SECRET = env.signing_secrets("SORA_WEBHOOK_SECRET")
SORA_DOWNLOAD_SECONDS = env.number("SORA_DOWNLOAD_SECONDS", 600, least=1, most=86_400)
# A fetch that is slower over ten seconds ends, and is tried again later; 0 sets no limit.
SORA_DOWNLOAD_MIN_BYTES_PER_SECOND = env.integer(
    "SORA_DOWNLOAD_MIN_BYTES_PER_SECOND", 16_384, least=0, most=1 << 30
)
SORA_DOWNLOAD_MAX_BYTES = env.integer("SORA_DOWNLOAD_MAX_BYTES", 2_147_483_648, least=1, most=1 << 40)
# Hosts beside the upstream's own that a download may be sent on to.
SORA_CONTENT_HOSTS = env.words("SORA_CONTENT_HOSTS")
# Between two audits of the upstream's list and our rows, 0 for none; how many pages of 100 each one reads.
AUDIT_SECONDS = env.number("AUDIT_SECONDS", 3_600, least=0, most=31_536_000)
AUDIT_PAGES = env.integer("AUDIT_PAGES", 20, least=1, most=1_000)
# Seconds of waiting that raise a job's priority by one step.
PRIORITY_AGEING = env.number("PRIORITY_AGEING", 300, least=1, most=31_536_000)
JOB_GIVE_UP_AFTER = env.number("JOB_GIVE_UP_AFTER", 86_400, least=1, most=31_536_000)
JOB_RETENTION_DAYS = env.integer("JOB_RETENTION_DAYS", 0, least=0, most=36_500)
JOB_OVERDUE_AFTER = env.number("JOB_OVERDUE_AFTER", 1_800, least=1, most=31_536_000)

# Batches -----------------------------------------------------------------------------------------------
# Videos of one POST /videos/batch, and items of one upload.
BATCH_MAX_SIZE = env.integer("BATCH_MAX_SIZE", 10, least=1, most=1_000)
BATCH_UPLOAD_MAX_SIZE = env.integer("BATCH_UPLOAD_MAX_SIZE", 10_000, least=1, most=100_000)
# Which bodies are kept on disk: their addresses, their types, and the setting of their largest length.
UPLOADS = (
    (
        frozenset({"/api/v1/batches", "/api/v1/batches/estimate"}),
        frozenset(
            {
                "text/csv",
                "application/vnd.ms-excel",
                "application/x-ndjson",
                "application/jsonl",
                "multipart/form-data",
            }
        ),
        "BATCH_UPLOAD_MAX_BYTES",
    ),
    (
        frozenset({"/api/v1/videos", "/api/v1/videos/estimate", "/v1/videos"}),
        frozenset({"multipart/form-data"}),
        "REFERENCE_FORM_MAX_BYTES",
    ),
    (
        frozenset({"/api/v1/images"}),
        frozenset({"multipart/form-data", "image/jpeg", "image/png", "image/webp"}),
        "REFERENCE_FORM_MAX_BYTES",
    ),
)
BATCH_UPLOAD_MAX_BYTES = env.integer("BATCH_UPLOAD_MAX_BYTES", 67_108_864, least=1_024, most=1 << 34)
# Jobs of a batch that are live upstream at a time, if its caller names no other number.
BATCH_CONCURRENCY = env.integer("BATCH_CONCURRENCY", 3, least=1, most=10_000)
# The environment gives milliseconds. A batch that takes longer is flagged as overdue.
BATCH_TIMEOUT = env.number("BATCH_TIMEOUT", 300_000, least=1, most=31_536_000_000) / 1000
