"""The WSGI application that the web server loads."""

import os

from django.core.wsgi import get_wsgi_application

from config.databases.patience import serving_callers
from config.start import refuse_to_start_badly

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
refuse_to_start_badly()
application = serving_callers(get_wsgi_application())
