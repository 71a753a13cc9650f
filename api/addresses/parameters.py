"""The parameters of an address."""

from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request


def parameters_of(request: Request) -> dict[str, str]:
    """Each parameter by its name. Raises ValidationError for one that is there more than once."""
    doubled = sorted(name for name, values in request.query_params.lists() if len(values) > 1)
    if doubled:
        message = "It is there more than once; which one is meant?"
        raise ValidationError({name[:100]: [ErrorDetail(message, code="invalid")] for name in doubled[:20]})
    return {name: str(value) for name, value in request.query_params.items()}
