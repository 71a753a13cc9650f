"""What `make up` prints after the start: the addresses and the next steps."""

import shlex
from pathlib import Path


def greeting(url: str, upstream: str, env_file: Path, login_link: str) -> str:
    """The text; `login_link` is "" if the user of `make up` may not use the admin."""
    admin = f"{url}/admin/"
    if login_link:
        admin += f"\n\nLog in to the admin with this link. It works once, for ten minutes:\n\n  {login_link}"
    return f"""
Take One is up at {url} (Ctrl-C ends it). Upstream: {upstream}

In another shell, ask for a video:

  . {shlex.quote(str(env_file))}
  curl --fail-with-body -sS "$TAKEONE_URL/api/v1/videos" -H "x-api-key: $TAKEONE_API_KEY" \\
    -H "Content-Type: application/json" -d '{{"prompt": "A paper boat crossing a puddle at dusk"}}'

Put the jobId of the answer into JOB. Follow the job until its status is completed, then download it:

  JOB=...
  curl --fail-with-body -sS "$TAKEONE_URL/api/v1/videos/$JOB" -H "x-api-key: $TAKEONE_API_KEY"
  curl --fail -sS "$TAKEONE_URL/api/v1/videos/$JOB/content" -H "x-api-key: $TAKEONE_API_KEY" -o boat.mp4

API docs:  {url}/docs
Health:    {url}/health and {url}/ready
Admin:     {admin}
"""
