"""The baseline of the web benchmarks: what a newcomer to Django REST framework would write for one table."""
