"""The WSGI application that the web server loads."""

import os

from django.core.wsgi import get_wsgi_application

from config.databases.timeouts import serving_callers
from config.startup.refusals import refuse_to_start_badly

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
refuse_to_start_badly()
django_handler = get_wsgi_application()
django_application = serving_callers(django_handler)

from api.requests import UTF8Request  # noqa: E402 - the apps are loaded by now
from health.metrics import observations  # noqa: E402
from health.wsgi import Probes  # noqa: E402

django_handler.request_class = UTF8Request
application = Probes(django_application)
# Each web process loads this module for itself, after it was forked.
observations.keep_regularly()
