"""What is known of one guard: where it is, and how the code reads without it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import dedent

_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard in words, the definition that it is in, the code there `before` and `after` it is taken away,
    and the tests of which one must then fail.

    `place` is "package.module:Qualified.name", with no name for the module itself. `before` is Python, and is
    compared as a tree: one expression, a run of statements, or `name=value` for a keyword argument as well.
    It must be there exactly once. An empty `after` removes it, from the list that it is in where it is an
    expression: a decorator, an argument, an operand of `and`. `also` are further edits in the same place.
    """

    name: str
    place: str
    before: str
    after: str
    tests: str
    also: tuple[tuple[str, str], ...] = ()

    @property
    def module(self) -> str:
        """The dotted name of the module."""
        return self.place.partition(":")[0]

    @property
    def file(self) -> str:
        """The module's file, from the root of the tree."""
        return f"{self.module.replace('.', '/')}.py"

    def removed_from(self, source: str) -> str:
        """The module's source without the guard; ValueError where something is not there exactly once."""
        tree = ast.parse(source)
        try:
            scope = _definition(tree, self.place.partition(":")[2])
            for before, after in ((self.before, self.after), *self.also):
                _edit(scope, before, after)
        except ValueError as error:
            raise ValueError(f"{self.name}: {self.place}: {error}") from None
        return ast.unparse(ast.fix_missing_locations(tree))


@dataclass(frozen=True, slots=True)
class _Spot:
    """A part of a tree: a run of a node's list, or one child where `length` is None."""

    parent: ast.AST
    field: str
    start: int = 0
    length: int | None = None

    def put(self, new: list[ast.AST]) -> None:
        """Puts the nodes in its stead."""
        if self.length is None:
            if len(new) != 1:
                raise ValueError(f"a {type(self.parent).__name__} cannot be without its {self.field}")
            setattr(self.parent, self.field, new[0])
            return
        siblings = getattr(self.parent, self.field)
        siblings[self.start : self.start + self.length] = new
        if self.field == "body" and not siblings:
            siblings.append(ast.Pass())
        if not siblings and isinstance(self.parent, ast.BoolOp):
            raise ValueError("nothing is left of an operation")


def _definition(tree: ast.Module, qualified: str) -> ast.AST:
    """The function or class with this name; names are joined by dots, of functions in functions as well."""
    scope: ast.AST = tree
    for name in filter(None, qualified.split(".")):
        found = [node for node in _defined_in(scope) if node.name == name]
        if len(found) != 1:
            raise ValueError(f"{name!r} is defined {len(found)} times, not once")
        scope = found[0]
    return scope


def _defined_in(scope: ast.AST) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, _DEFINITIONS):
            yield child
        else:
            yield from _defined_in(child)


def _edit(scope: ast.AST, before: str, after: str) -> None:
    """Replaces `before` in the scope by `after`; ValueError where it is not there exactly once."""
    old, new = _parsed(before), _parsed(after)
    if not old:
        raise ValueError("there is nothing to look for")
    spots: list[tuple[_Spot, list[ast.AST]]] = []
    if _expressions(old) and _expressions(new):
        values: list[ast.AST] = [statement.value for statement in new]
        for spot in _found(scope, [old[0].value]):
            # A statement that is nothing but this expression goes as a whole.
            whole = not new and isinstance(spot.parent, ast.Expr)
            spots.extend([] if whole else [(spot, values)])
        if not new:
            spots.extend((spot, []) for spot in _found(scope, old))
    else:
        spots.extend((spot, list(new)) for spot in _found(scope, old))
        keywords, replaced = _keywords(old), _keywords(new)
        if len(keywords) == 1 and len(replaced) == len(new):
            spots.extend((spot, replaced) for spot in _found(scope, keywords))
    if len(spots) != 1:
        raise ValueError(f"{len(spots)} times, not once: {before.strip()!r}")
    spot, nodes = spots[0]
    spot.put(nodes)


def _parsed(code: str) -> list[ast.stmt]:
    try:
        return ast.parse(dedent(code)).body
    except SyntaxError as error:
        raise ValueError(f"not Python: {code.strip()!r}: {error}") from None


def _expressions(statements: list[ast.stmt]) -> bool:
    """Whether this is one expression, or nothing."""
    return len(statements) <= 1 and all(isinstance(statement, ast.Expr) for statement in statements)


def _keywords(statements: list[ast.stmt]) -> list[ast.AST]:
    """`name=value`, read as keyword arguments."""
    return [
        ast.keyword(arg=statement.targets[0].id, value=statement.value)
        for statement in statements
        if isinstance(statement, ast.Assign)
        and len(statement.targets) == 1
        and isinstance(statement.targets[0], ast.Name)
    ]


def _found(scope: ast.AST, nodes: list) -> Iterator[_Spot]:
    """Where the nodes stand in a row; a single one as the only child of its kind as well."""
    wanted = [ast.dump(node) for node in nodes]
    length = len(wanted)
    for parent in ast.walk(scope):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST):
                if length == 1 and type(value) is type(nodes[0]) and ast.dump(value) == wanted[0]:
                    yield _Spot(parent, field)
            elif isinstance(value, list) and all(isinstance(node, ast.AST) for node in value):
                for start in range(len(value) - length + 1):
                    if all(
                        type(value[start + n]) is type(nodes[n]) and ast.dump(value[start + n]) == wanted[n]
                        for n in range(length)
                    ):
                        yield _Spot(parent, field, start, length)
