"""Products that read one way and mean another.

Python parses ``r * U @ h`` as ``(r * U) @ h`` and ``U @ r * h`` as ``(U @ r) * h``. Parentheses leave no trace in an
expression, so this looks at the source itself: a ``*`` and an ``@`` side by side without parentheses between them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AmbiguousProduct:
    """One such product: its line, its text, and the two ways to write it clearly."""

    line: int
    text: str
    as_python_reads: str
    alternative: str


def ambiguous_products(function: Callable[..., Any]) -> Iterator[AmbiguousProduct]:
    """The ambiguous products in the source of ``function``, in order; none where its source cannot be had."""
    try:
        lines, first = inspect.getsourcelines(function)
        source = textwrap.dedent("".join(lines))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return
    for node in ast.walk(tree):
        if not (isinstance(node, ast.BinOp) and isinstance(node.left, ast.BinOp)):
            continue
        operators = (type(node.left.op), type(node.op))
        if operators not in ((ast.Mult, ast.MatMult), (ast.MatMult, ast.Mult)):
            continue
        inner = node.left
        if (node.lineno, node.col_offset) != (inner.lineno, inner.col_offset):
            continue  # the inner product stands in parentheses
        one, other = ("*", "@") if operators[0] is ast.Mult else ("@", "*")
        if _is_number(inner.left if one == "*" else node.right):
            continue  # 2 * U @ h is the same either way
        a, b, c = (_text(source, part) for part in (inner.left, inner.right, node.right))
        text = " ".join((ast.get_source_segment(source, node) or "").split())
        yield AmbiguousProduct(
            first + node.lineno - 1, text, f"({a} {one} {b}) {other} {c}", f"{a} {one} ({b} {other} {c})"
        )


def _is_number(node: ast.expr) -> bool:
    return isinstance(node.operand if isinstance(node, ast.UnaryOp) else node, ast.Constant)


def _text(source: str, node: ast.expr) -> str:
    """The source of an operand; a node's own extent leaves out the parentheses around it."""
    text = " ".join((ast.get_source_segment(source, node) or "").split())
    return f"({text})" if isinstance(node, ast.BinOp | ast.UnaryOp) else text
