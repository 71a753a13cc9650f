"""`python -m config.startup.next_steps`: prints the next steps for a deployment that runs, as `make up` does.

Makes an API key with all scopes each time, and the user takeone if there is none.
"""

import os
import shlex

from config.startup.refusals import refuse_to_start_badly


def main() -> None:
    """Prints them, with the key, once."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    refuse_to_start_badly()
    from django.conf import settings

    from accounts.models import ApiKey
    from config.startup.first_user import first_user, login_link
    from config.startup.greeting import greeting
    from upstreams import registry

    _, secret = ApiKey.issue(first_user(), "next steps", scope=ApiKey.Scope.ADMIN)
    key = f"export TAKEONE_URL={shlex.quote(settings.TAKEONE_URL)} TAKEONE_API_KEY={shlex.quote(secret)}"
    upstreams = registry.configured().described
    print(greeting(settings.TAKEONE_URL, upstreams, key, login_link()))


if __name__ == "__main__":
    main()
