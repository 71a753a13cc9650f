#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    from config.startup.refusals import refuse_command

    refuse_command(sys.argv[1:])
    execute_from_command_line(sys.argv)
