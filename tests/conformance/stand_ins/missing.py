"""Stubs for packages that a server imports and that are not installed, such as torch.

The routes under test never reach them. A stub is a class: it can be subclassed, called, indexed, used as a
decorator, and named in an annotation that pydantic reads.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any


class _Stubbed(type):
    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any], **options: Any) -> Any:
        # Options of the real base's own metaclass, such as `total=False`.
        return super().__new__(mcs, name, bases, body)

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **options: Any) -> None:
        super().__init__(name, bases, body)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _stub(f"{cls.__name__}.{name}")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if "__stub__" not in vars(cls):
            return super().__call__(*args, **kwargs)
        # As a decorator it changes nothing.
        decorates = len(args) == 1 and not kwargs and isinstance(args[0], types.FunctionType | type)
        return args[0] if decorates else cls

    def __getitem__(cls, key: Any) -> Any:
        return cls

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __bool__(cls) -> bool:
        return False

    def __or__(cls, other: Any) -> Any:
        return Any

    __ror__ = __or__

    def __int__(cls) -> int:
        return 0

    def __lt__(cls, other: Any) -> bool:
        return False

    __gt__ = __le__ = __ge__ = __lt__

    def __truediv__(cls, other: Any) -> Any:
        return cls

    __rtruediv__ = __mul__ = __rmul__ = __add__ = __radd__ = __sub__ = __rsub__ = __truediv__

    def __enter__(cls) -> Any:
        return cls

    def __exit__(cls, *error: object) -> None:
        return None


def _stub(name: str) -> Any:
    return _Stubbed(name, (), {"__stub__": True, "__get_pydantic_core_schema__": classmethod(_any_schema)})


def _any_schema(cls: type, *args: object) -> dict[str, str]:
    return {"type": "any"}


class _StubModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name.endswith(("Error", "Exception")):
            made: Any = type(name, (Exception,), {})
        else:
            made = _stub(name)
        setattr(self, name, made)
        return made


class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stub for each of these modules and for all that is below them."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._modules = tuple(modules)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A stub's spec, or None if the module is none of these."""
        if not any(fullname == each or fullname.startswith(f"{each}.") for each in self._modules):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """A module whose every name is a stub."""
        return _StubModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing runs."""


def stub(*modules: str) -> None:
    """From here on, imports of these modules find stubs."""
    sys.meta_path.insert(0, Missing(modules))


def bare(package: str) -> None:
    """Import this package without running its `__init__`, whose names become stubs; its modules are real."""
    parent = sys.modules.get(package.rpartition(".")[0])
    spec = importlib.machinery.PathFinder.find_spec(package, parent and parent.__path__)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    module = _StubModule(package)
    module.__path__ = list(spec.submodule_search_locations)
    sys.modules[package] = module
