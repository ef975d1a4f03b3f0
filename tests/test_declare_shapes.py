"""Dimensions: elementwise operands align by name, operations compute their own, and `@` works between any two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import pytest
from sympy import Add, Expr, evaluate

from lstmgen.api import cell, flatten, max_over, mean_over, outer, sigmoid, stop_gradient, sum_over, transpose, where
from lstmgen.declare.dims import Dims, spell
from lstmgen.declare.operations import Matmul, ShapeMistake, Transpose, matrix_operators
from lstmgen.declare.shapes import align, dims_of
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import DeclarationError

S = Value("s")
H, R = Value("h", ("hidden",)), Value("r", ("hidden",))
X = Value("x", ("features",))
C = Value("C", ("value", "key"))
K, V = Value("k", ("key",)), Value("v", ("value",))
T = Value("T", ("head", "value", "key"))
Q, P = Value("q", ("head", "key")), Value("p", ("head",))
W = Value("W", ("hidden", "hidden"), Role.PARAMETER)
U = Value("U", ("hidden", "features"), Role.PARAMETER)


@pytest.fixture
def traced() -> Iterator[None]:
    """Expressions keep the order they are written in, and composite ones have `@` and `.T`."""
    with evaluate(False), matrix_operators():
        yield


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("write", "dims"),
    [
        # elementwise: the union by name, in the order of the largest operand, of the first among equals
        (lambda: S + 1, ()),
        (lambda: H * R + 2, ("hidden",)),
        (lambda: S * H, ("hidden",)),
        (lambda: V + C, ("value", "key")),
        (lambda: K * C * V, ("value", "key")),
        (lambda: V * K, ("value", "key")),
        (lambda: K * V, ("key", "value")),
        (lambda: C * C.T, ("value", "key")),
        (lambda: C.T + C, ("key", "value")),
        (lambda: P * C, ("value", "key", "head")),
        (lambda: P * T * Q, ("head", "value", "key")),
        (lambda: 1 / (K**2 + S), ("key",)),
        (lambda: sigmoid(C) * sigmoid(K), ("value", "key")),
        (lambda: where(K > S, V, 0), ("key", "value")),
        (lambda: W - W.T, ("hidden", "hidden")),
        # contraction: the last dimensions vanish, what else the right operand has is a batch
        (lambda: U @ X, ("hidden",)),
        (lambda: W @ H, ("hidden",)),
        (lambda: H @ R, ()),
        (lambda: C @ K, ("value",)),
        (lambda: C.T @ V, ("key",)),
        (lambda: T @ K, ("head", "value")),
        (lambda: T @ Q, ("head", "value")),
        (lambda: Q @ Q, ("head",)),
        (lambda: (W - W.T) @ (R * H), ("hidden",)),
        (lambda: (2 * C).T @ (V + 1), ("key",)),
        (lambda: W.T.T @ H, ("hidden",)),
        (lambda: (C + V) @ K @ V, ()),
        # the other operations
        (lambda: transpose(T), ("head", "key", "value")),
        (lambda: T.T, ("head", "key", "value")),
        (lambda: outer(V, K), ("value", "key")),
        (lambda: outer(S, K), ("key",)),
        (lambda: outer(outer(P, V), K), ("head", "value", "key")),
        (lambda: sum_over(C, "value"), ("key",)),
        (lambda: mean_over(C, "key"), ("value",)),
        (lambda: max_over(T, "value"), ("head", "key")),
        (lambda: sum_over(sum_over(C, "key"), "value"), ()),
        (lambda: K / sum_over(K, "key"), ("key",)),
        (lambda: flatten(Q), ("hidden",)),
        (lambda: flatten(T, "all"), ("all",)),
        (lambda: flatten(T, "keys"), ("keys",)),
        (lambda: stop_gradient(C), ("value", "key")),
    ],
)
def test_dimensions(write: Callable[[], Expr], dims: Dims) -> None:
    assert dims_of(write()) == dims


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("write", "code", "says"),
    [
        (lambda: W * H, "LG114", "(hidden, hidden) repeats a name"),
        (lambda: H + W, "LG114", "(hidden, hidden) repeats a name"),
        (lambda: sigmoid(W) * sigmoid(H), "LG114", "r * (U @ h), or U @ (r * h)"),
        (lambda: U @ H, "LG102", "(hidden, features) ends in 'features' and (hidden,) in 'hidden'"),
        (lambda: C @ V, "LG102", "or transpose it"),
        (lambda: X @ U, "LG102", "needs the matrix on its left"),
        (lambda: K @ Q, "LG102", "fewer dimensions than (head, key)"),
        (lambda: T @ C, "LG102", "must be a prefix of the left's (head, value, key)"),
        (lambda: S @ H, "LG102", "a dimension to contract on both sides"),
        (lambda: H @ 2, "LG102", "use * to multiply by a scalar"),
        (lambda: H.T, "LG102", "fewer than two dimensions"),
        (lambda: transpose(S), "LG102", "()"),
        (lambda: sum_over(C, "head"), "LG101", "name one of 'value', 'key'"),
        (lambda: max_over(S, "key"), "LG101", "the operand is a scalar"),
        (lambda: mean_over(W, "hidden"), "LG101", "cannot reduce over 'hidden'"),
        (lambda: flatten(K), "LG102", "cannot flatten (key,) to 'hidden'"),
        (lambda: flatten(W, "all"), "LG102", "distinct names"),
        (lambda: flatten(C, "d_x"), "LG108", "d_x is the adjoint of x"),
        (lambda: flatten(C, "a b"), "LG109", "'a b'"),
    ],
)
def test_dimensions_that_do_not_fit(write: Callable[[], Expr], code: str, says: str) -> None:
    with pytest.raises(ShapeMistake) as caught:
        dims_of(write())
    assert caught.value.code == code
    assert says in f"{caught.value.message}; {caught.value.hint}"
    assert caught.value.hint


def test_alignment() -> None:
    assert align([]) == align([(), ()]) == ()
    assert align([("a",), ("b", "a"), ()]) == ("b", "a")
    assert align([("a", "a"), (), ("a", "a")]) == ("a", "a")
    assert align([("a", "a"), ("b",)]) == ("a", "a", "b")  # no name of the matrix is asked for, so nothing is ambiguous
    for shapes in permutations([("a", "b"), ("b",), ("c",)]):
        assert set(align(shapes)) == {"a", "b", "c"}


@pytest.mark.parametrize(("dims", "text"), [((), "()"), (("a",), "(a,)"), (("a", "b"), "(a, b)")])
def test_spelling(dims: Dims, text: str) -> None:
    assert spell(dims) == text


@pytest.mark.parametrize("evaluated", [False, True])
def test_a_matrix_is_not_its_transpose(evaluated: bool) -> None:
    """SymPy takes a real symbol for its own transpose, and would make nothing of this difference."""
    with evaluate(evaluated):
        difference = W - W.T
        assert difference != 0 and isinstance(difference, Add)
        assert W.T == W.transpose() == transpose(W) == Transpose(W)
        assert W.T != W
        assert W - W.transpose() == difference


@pytest.mark.usefixtures("traced")
def test_transposes_print() -> None:
    """SymPy's printers find their method by the name of the class, which they have one of their own for."""
    assert str(W.T) == repr(W.T) == "W.T"
    assert str((W + C).T) in {"(C + W).T", "(W + C).T"}


@pytest.mark.usefixtures("traced")
def test_operators_never_raise() -> None:
    """What is no operand waits for the equation it is used in, or the first mistake would hide all others."""
    for other in (None, "h", [H], 2, object()):
        made: Any = W @ other
        assert isinstance(made, Matmul) and made.args[0] == W
    assert isinstance(2 @ W, Matmul)
    assert isinstance(sum_over(H, None), Expr)  # type: ignore[arg-type]


@pytest.mark.usefixtures("traced")
def test_operations_keep_their_names_when_rebuilt() -> None:
    for made in (sum_over(C, "key"), flatten(C, "all"), transpose(C), outer(V, K), C @ K):
        assert made.with_values(made.values) == made
        assert made.func(*made.args) == made
    assert sum_over(C, "key").with_values([C.T]) == sum_over(C.T, "key")


def test_composite_operators_end_with_the_trace() -> None:
    """Other users of SymPy see none of it, even where a cell's function fails."""

    @cell("skew")
    def skew(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        r = eq.let("r", sigmoid(eq.affine("r", W=x)))
        m = eq.parameter("M", "hidden", "hidden")
        eq.output(eq.next("h", (m - m.T) @ (r * h_prev) + (2 * m).T @ h_prev))

    @cell("stops")
    def stops(eq: Any) -> None:
        raise ValueError

    assert skew.trace().equations[-1].target.dims == ("hidden",)
    with pytest.raises(DeclarationError, match="ValueError"):
        stops.trace()
    assert not any(hasattr(Expr, name) for name in ("__matmul__", "__rmatmul__", "T"))
    assert 2 * H + H == 3 * H  # and SymPy evaluates again
    with pytest.raises(TypeError):
        (2 * H) @ (2 * H)
    assert dims_of(W @ (2 * H)) == dims_of((2 * W) @ H) == ("hidden",)  # symbols have operators of their own
