"""The error codes that the code can answer with, collected from the code itself."""

import ast
import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from django.conf import settings
from rest_framework import exceptions

from api import errors
from api.bodies.fields import StrictSerializer
from upstreams.client.types import Phase
from upstreams.client.values import NO_CODE

APPS = ("accounts", "api", "batches", "compat", "health", "upstreams", "videos", "webhooks")

# Nobody can cause these: api.requests.AlwaysJSON answers in JSON whatever is asked for.
_NEVER_RAISED = {exceptions.NotAcceptable}
# Fields have messages for these, and come to them only with a validator, or never by JSON or a query.
_ONLY_WITH_A_VALIDATOR = {"min_length", "max_length", "min_value", "max_value"}
_NOT_FROM_TEXT = {"date", "datetime", "make_aware"}
# Which argument of these functions is a code.
_ITEM_CODE_AT = {"bad_line": 1, "_problem": 2}


def modules() -> Iterator[ModuleType]:
    """Every module of our apps but migrations."""
    for app in APPS:
        package = importlib.import_module(app)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{app}."):
            if ".migrations" not in found.name:
                yield importlib.import_module(found.name)


@cache
def nodes() -> list[ast.AST]:
    """The source of every module of our apps, as a list of all its parts."""
    paths = [path for app in APPS for path in sorted(Path(settings.BASE_DIR / app).rglob("*.py"))]
    # The fields of a file that an operator writes, of which no answer speaks.
    paths = [path for path in paths if "configuration" not in path.parts]
    return [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of our apps, with the last part of the function's name."""
    for node in nodes():
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def _text(values: Iterable[ast.expr], at: int) -> str | None:
    found = list(values)[at : at + 1]
    return found[0].value if found and isinstance(found[0], ast.Constant) else None  # type: ignore[return-value]


def _subclasses(parent: type) -> Iterator[type[Any]]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)


def answer_codes() -> dict[str, set[int]]:
    """The codes of whole answers, each with the statuses that it comes with."""
    found: dict[str, set[int]] = {}
    list(modules())
    for kind in _subclasses(exceptions.APIException):
        ours = kind.__module__.split(".")[0] in APPS
        if kind in _NEVER_RAISED or not (ours or kind.__module__ == exceptions.__name__):
            continue
        code = _code_given_by(kind) or kind.default_code
        found.setdefault(errors._CODES.get(code, code), set()).add(kind.status_code)
    for status, code in _refused_by_the_server().items():
        found.setdefault(code, set()).add(status)
    for name, call in _calls():
        if name == "respond" and (code := _text(call.args, 2)) is not None:
            status = call.args[1]
            assert isinstance(status, ast.Constant)
            found.setdefault(code, set()).add(int(status.value))  # type: ignore[arg-type]
    return found


def _refused_by_the_server() -> dict[int, str]:
    """The codes by status of what the web server refuses before Django sees it."""
    tree = ast.parse(Path(settings.BASE_DIR / "config" / "web" / "request.py").read_text())
    tables = (node for node in ast.walk(tree) if isinstance(node, ast.Dict))
    return {
        key.value: str(_text(value.elts, 0))
        for table in tables
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(key.value, int) and isinstance(value, ast.Tuple)
    }


def _code_given_by(kind: type) -> str | None:
    """The code that an exception gives itself as it is made: `super().__init__(…, code="…")`."""
    for node in nodes():
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
            for keyword in (each for each in ast.walk(node) if isinstance(each, ast.keyword)):
                if keyword.arg == "code":
                    return _text([keyword.value], 0)
    return None


def item_codes() -> set[str]:
    """The codes of single problems, in `details` of validation_failed."""
    found: set[str] = set()
    list(modules())
    for kind in _subclasses(StrictSerializer):
        if "configuration" in kind.__module__:
            continue
        serializer = kind()
        found |= serializer.error_messages.keys()
        for field in serializer.fields.values():
            if not field.read_only:
                found |= field.error_messages.keys() - _ONLY_WITH_A_VALIDATOR
                found |= {each.code for each in field.validators if hasattr(each, "code")}
    for name, call in _calls():
        if name in _ITEM_CODE_AT and (code := _text(call.args, _ITEM_CODE_AT[name])) is not None:
            found.add(code)
        elif name in {"ErrorDetail", "ValidationError"}:
            found |= {
                str(_text([each.value], 0))
                for each in call.keywords
                if each.arg == "code" and isinstance(each.value, ast.Constant)
            }
    for node in nodes():
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None and _text([key], 0) == "code" and (code := _text([value], 0)):
                    found.add(code)
    # The form of the admin's log-in answers in HTML.
    return found - _NOT_FROM_TEXT - {"locked_out"}


def job_codes() -> set[str]:
    """The codes of failed jobs that are ours; an upstream has more of its own."""
    found = {NO_CODE}
    # observe.py names a phase where the upstream gives no code; a cancelled render cancels its job.
    found |= {f"upstream_{phase}" for phase in (Phase.FAILED, Phase.EXPIRED)}
    for name, call in _calls():
        if name == "fail" and len(call.args) >= 3 and (code := _text(call.args, 1)) is not None:
            found.add(code)
    return found


def key_refusals() -> set[str]:
    """The reasons for which an API key is refused."""
    return {str(_text(call.args, 0)) for name, call in _calls() if name == "KeyRefused"}
