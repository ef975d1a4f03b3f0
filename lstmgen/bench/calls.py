"""How many calls of NumPy a generated kernel makes at every step, counted in its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator

KERNELS = ("_forward", "_infer", "_backward")


def calls_per_step(source: str) -> dict[str, int]:
    """For every kernel of a module the calls in the bodies of its innermost loops; several loops add up.

    Counted are ``np.add(...)`` and calls of names that stand for such a function, wherever they were given to it.
    """
    tree = ast.parse(source)
    names = _names_for_functions(tree)
    return {
        node.name.lstrip("_"): sum(_count(loop, names) for loop in _innermost(node))
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name in KERNELS
    }


def _is_numpy(node: ast.expr) -> bool:
    """``np.something``, or something of that."""
    while isinstance(node, ast.Attribute):
        node = node.value
        if isinstance(node, ast.Name) and node.id in ("np", "numpy"):
            return True
    return False


def _names_for_functions(tree: ast.AST) -> set[str]:
    """The names that are given to functions of NumPy: by assignment, one or several at once, or as a default."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                found |= set(_bound(target, node.value))
        elif isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            pairs = [*zip(positional[len(positional) - len(node.defaults) :], node.defaults, strict=True)]
            keywords = zip(node.kwonlyargs, node.kw_defaults, strict=True)
            pairs += [(argument, default) for argument, default in keywords if default is not None]
            found |= {argument.arg for argument, default in pairs if _is_numpy(default)}
    return found


def _bound(target: ast.expr, value: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for inner, its in zip(target.elts, value.elts, strict=True):
            yield from _bound(inner, its)
    elif isinstance(target, ast.Name) and _is_numpy(value):
        yield target.id


def _innermost(node: ast.AST) -> Iterator[ast.For | ast.While]:
    """The loops in ``node`` that hold no other."""
    for child in ast.iter_child_nodes(node):
        inner = list(_innermost(child))
        if inner:
            yield from inner
        elif isinstance(child, ast.For | ast.While):
            yield child


def _count(loop: ast.For | ast.While, names: set[str]) -> int:
    calls = [node for statement in loop.body for node in ast.walk(statement) if isinstance(node, ast.Call)]
    return sum(_is_numpy(call.func) or (isinstance(call.func, ast.Name) and call.func.id in names) for call in calls)
