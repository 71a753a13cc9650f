"""All settings of a deployment, by subject. The environment variables are listed in .env.example."""

from config.settings.database import *
from config.settings.monitoring import *
from config.settings.queue import *
from config.settings.references import *
from config.settings.rest import *
from config.settings.results import *
from config.settings.service import *
from config.settings.upstream import *
