"""Ids in addresses."""

from django.urls.converters import UUIDConverter


class AnyCaseUUIDConverter(UUIDConverter):
    """A UUID in any case: RFC 9562 has it read so, and some languages write it in capitals."""

    regex = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
