"""What is printed once everything is up: the addresses and the next steps."""


def greeting(url: str, upstream: str, read_key: str, login_link: str, ends: str = "") -> str:
    """The text.

    `read_key` is the shell's line that sets TAKEONE_URL and TAKEONE_API_KEY, `ends` says how to end it all,
    and `login_link` is "" if the first user may not use the admin.
    """
    admin = f"{url}/admin/"
    if login_link:
        admin += f"\n\nLog in to the admin with this link. It works once, for ten minutes:\n\n  {login_link}"
    return f"""
Take One is up at {url}{ends}. Upstream: {upstream}

In another shell, ask for a video:

  {read_key}
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
