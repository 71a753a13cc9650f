"""The WSGI application that the web server loads."""

import os

from django.core.wsgi import get_wsgi_application

from config.databases.timeouts import serving_callers
from config.startup.refusals import refuse_to_start_badly

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
refuse_to_start_badly()
django_application = serving_callers(get_wsgi_application())

from health.metrics import observations  # noqa: E402 - the apps are loaded by now
from health.wsgi import Probes  # noqa: E402

application = Probes(django_application)
# Each web process loads this module for itself, after it was forked.
observations.keep_regularly()
