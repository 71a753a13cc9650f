"""The web server: gunicorn's processes, waitress's connections. See docs/decisions/gunicorn.md."""
