"""Ids in addresses."""

from typing import Final

from django.urls import register_converter
from django.urls.converters import UUIDConverter

# Its name in the patterns of addresses.
ANY_CASE_UUID: Final = "anyuuid"


class AnyCaseUUIDConverter(UUIDConverter):
    """A UUID in any case: RFC 9562 has it read so, and some languages write it in capitals."""

    regex = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"


register_converter(AnyCaseUUIDConverter, ANY_CASE_UUID)
