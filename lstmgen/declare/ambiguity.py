"""Products that read one way and mean another.

Python parses ``r * U @ h`` as ``(r * U) @ h`` and ``U @ r * h`` as ``(U @ r) * h``. Parentheses leave no trace in an
expression, so :func:`ambiguous_products` looks at the source itself: a ``*`` and an ``@`` side by side without
parentheses between them. And ``*`` is no matrix product, which :func:`matrix_hint` and :func:`unrelated_operands` tell
those who expect one.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any

from sympy import Add, Basic, Expr, Mul, Symbol, preorder_traversal

from lstmgen.declare.dims import spell
from lstmgen.declare.operations import Operation
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import Value


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


def matrix_hint(expression: Basic) -> str:
    """What to write for an elementwise expression of which one operand, a square matrix, repeats a name."""
    operands = [(arg, dims_of(arg)) for arg in expression.args]
    matrix = next(each for each in operands if len({*each[1]}) < len(each[1]))
    other = next(arg for arg, dims in operands if dims not in ((), matrix[1]))
    if isinstance(matrix[0], Symbol) and isinstance(other, Symbol):
        product = f"for a matrix product use @, as in {matrix[0]} @ {other}"
        return f"{product}; to scale one, put it in parentheses: {other} * ({matrix[0]} @ ...)"
    return "for a matrix product use @; to scale one, put it in parentheses"


def unrelated_operands(tree: Expr, shared: Set[Value]) -> tuple[str, str, str] | None:
    """Code, message and hint about elementwise operands that share no dimension, so that all their pairs are combined.

    That is legal, and outside ``outer`` seldom meant. Left out are operands made of ``shared`` values alone, and two
    whose dimensions another operand has, or a value of the same expression, such as a state that is a matrix.
    """
    moving = [value.dims for value in tree.atoms(Value) - shared]
    for node in preorder_traversal(tree):
        if not isinstance(node, Expr) or isinstance(node, Operation):
            continue
        operands = [(arg, dims_of(arg)) for arg in node.args]
        links = [{*dims} for dims in (*moving, *(dims for _, dims in operands))]
        pairs = itertools.combinations([each for each in operands if not each[0].free_symbols <= shared], 2)
        for (one, its), (other, theirs) in pairs:
            if not its or not theirs or any(link & {*its} and link & {*theirs} for link in links):
                continue
            result = {Mul: "their product is", Add: "their sum is"}.get(node.func, "together they are")
            first, second = (each if isinstance(each, Symbol) else "an expression" for each in (one, other))
            hint = "bring one of them to the other's dimension with @"
            if node.is_Mul:
                hint += ", or write outer(a, b) if all products are meant"
            return (
                "LG124",
                f"{first} {spell(its)} and {second} {spell(theirs)} share no dimension: {result} "
                f"{spell(dims_of(node))}",
                hint,
            )
    return None
