"""The backward pass derived for the peephole LSTM is the published one, equation by equation.

The equations are those of Greff, Srivastava, Koutník, Steunebrink & Schmidhuber, "LSTM: A Search Space Odyssey"
(arXiv 1503.04069), its forward and its backward pass, spelled as there: `*` is ⊙, `outer(a, b)` is ⟨a, b⟩, `o_bar` is o
with a bar, `•` stands for z, i, f and o in turn, and δ of a gate is the gradient by its value under the bar.

No number is computed here. What lstmgen derived is renamed, what the paper has no name for is replaced by what defines
it, and the difference of the two sides must vanish as a polynomial whose unknowns are the paper's symbols, matrix
products and squashing functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
from sympy import Add, Expr, Function, Mul, Number, Pow, Symbol, diff, expand, symbols

from lstmgen.api import cell
from lstmgen.calculus import reverse
from lstmgen.calculus.graph import is_call
from lstmgen.calculus.operations import Contract, Total
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.calculus.rules import VJP
from lstmgen.cells.lstm import lstm
from lstmgen.declare.functions import DEFINITIONS, sigmoid, tanh
from lstmgen.declare.symbols import Value
from lstmgen.pipeline import derive_gradient

FORWARD = """
z_bar[t] = W_z @ x[t] + R_z @ y[t-1] + b_z
z[t] = g(z_bar[t])
i_bar[t] = W_i @ x[t] + R_i @ y[t-1] + p_i * c[t-1] + b_i
i[t] = σ(i_bar[t])
f_bar[t] = W_f @ x[t] + R_f @ y[t-1] + p_f * c[t-1] + b_f
f[t] = σ(f_bar[t])
c[t] = z[t] * i[t] + c[t-1] * f[t]
o_bar[t] = W_o @ x[t] + R_o @ y[t-1] + p_o * c[t] + b_o
o[t] = σ(o_bar[t])
y[t] = h(c[t]) * o[t]
"""

BACKWARD = """
δy[t] = Δ[t] + R_z.T @ δz[t+1] + R_i.T @ δi[t+1] + R_f.T @ δf[t+1] + R_o.T @ δo[t+1]
δo[t] = δy[t] * h(c[t]) * dσ(o_bar[t])
δc[t] = δy[t] * o[t] * dh(c[t]) + p_o * δo[t] + p_i * δi[t+1] + p_f * δf[t+1] + δc[t+1] * f[t+1]
δf[t] = δc[t] * c[t-1] * dσ(f_bar[t])
δi[t] = δc[t] * z[t] * dσ(i_bar[t])
δz[t] = δc[t] * i[t] * dg(z_bar[t])
δx[t] = W_z.T @ δz[t] + W_i.T @ δi[t] + W_f.T @ δf[t] + W_o.T @ δo[t]
δW_• = Σ(outer(δ•[t], x[t]), 0, T)
δR_• = Σ(outer(δ•[t+1], y[t]), 0, T - 1)
δb_• = Σ(δ•[t], 0, T)
δp_i = Σ(c[t] * δi[t+1], 0, T - 1)
δp_f = Σ(c[t] * δf[t+1], 0, T - 1)
δp_o = Σ(c[t] * δo[t], 0, T)
"""


def equations(text: str) -> dict[str, str]:
    """Right sides, by the names of the left ones."""
    lines = [line.replace("•", gate) for line in text.split("\n") if line for gate in ("zifo" if "•" in line else "z")]
    sides = [line.split(" = ") for line in lines]
    return {left.removesuffix("[t]"): right for left, right in sides}


PUBLISHED = equations(FORWARD) | equations(BACKWARD)
BACKWARD_NAMES = set(equations(BACKWARD))

# -- the paper's side --------------------------------------------------------------------------------------------------

t, T = symbols("t T", integer=True)
total = Function("total")  # of a term, over the steps 0 to T
product = Function("product")  # of two values, by their axes as einsum spells them


@dataclass(frozen=True)
class Series:
    """A value at every step: `y[t-1]`."""

    name: str

    def __getitem__(self, step: Any) -> Expr:
        return Function(self.name)(step)


@dataclass(frozen=True)
class Matrix:
    """A matrix, of which only products are taken."""

    name: str
    axes: str = "ij,j->i"

    @property
    def T(self) -> Matrix:  # noqa: N802  (as matrices have it)
        return Matrix(self.name, "ij,i->j")

    def __matmul__(self, value: Expr) -> Expr:
        return product(Symbol(self.name), value, Symbol(self.axes))


def sigma(a: Expr) -> Expr:
    return Function("sigmoid")(a)


def squash(a: Expr) -> Expr:
    """What the paper calls g and h."""
    return Function("tanh")(a)


def over_time(term: Expr, first: int, last: Expr) -> Expr:
    """The sum of `term` over t. Sums that end at T - 1 are brought to the range of all others, 0 to T.

    Such a sum goes over what a step hands to the next one, counted by the step that hands it over. Counted by the step
    that receives it, it runs from 1 to T. It may as well begin at 0, where the term has y[-1] or c[-1] as a factor: the
    paper's recurrence starts from zero. (From another start the term is due, and lstmgen's total includes it.)
    """
    if last == T - 1:
        term = term.subs(t, t - 1)
        factors_at_the_first_step = term.subs(t, first).args
        assert {Series("y")[-1], Series("c")[-1]} & set(factors_at_the_first_step)
        last = T
    assert (first, last) == (0, T)
    return total(term)


WORDS: dict[str, Any] = {
    "t": t,
    "T": T,
    "Σ": over_time,
    "outer": lambda left, right: product(left, right, Symbol("i,j->ij")),
    "σ": sigma,
    "g": squash,
    "h": squash,
    "dσ": lambda a: sigma(a) * (1 - sigma(a)),
    "dg": lambda a: 1 - squash(a) ** 2,
    "dh": lambda a: 1 - squash(a) ** 2,
    **{name: Series(name) for name in ("x", "y", "c", "Δ", "δx", "δy", "δc")},
    **{name: Series(name) for gate in "zifo" for name in (gate, f"{gate}_bar", f"δ{gate}")},
    **{name: Matrix(name) for gate in "zifo" for name in (f"W_{gate}", f"R_{gate}")},
    **{name: Symbol(name) for gate in "zifo" for name in (f"b_{gate}", f"p_{gate}")},
}


def published(name: str) -> Expr:
    """The right side of one of the paper's equations."""
    return eval(PUBLISHED[name], {"__builtins__": {}}, WORDS)


# -- lstmgen's side ----------------------------------------------------------------------------------------------------

GATES = {"f": "f", "i": "i", "g": "z", "o": "o"}
SERIES = {"x": "x", "h": "y", "c": "c", **GATES, **{f"a_{ours}": f"{theirs}_bar" for ours, theirs in GATES.items()}}
LETTERS = {"W": "W", "U": "R", "b": "b", "p": "p"}
PARAMETERS = {
    f"{our_letter}_{ours}": f"{their_letter}_{theirs}"
    for our_letter, their_letter in LETTERS.items()
    for ours, theirs in GATES.items()
}


def delta(word: str) -> str | None:
    """What the paper calls the adjoint of a series; it has no name for those of the gates' own values."""
    return f"δ{word.removesuffix('_bar')}" if word in "xyc" or word.endswith("_bar") else None


class Reading:
    """A gradient of lstmgen's in the paper's words: `self[name]` is what it has for the paper's right side."""

    def __init__(self, gradient: Gradient) -> None:
        self.definitions = gradient.primal.definitions() | gradient.adjoint.definitions()
        self.words: dict[Value, Expr] = {}  # what the paper calls a value
        self.values: dict[str, Value] = {}  # what lstmgen computes the left sides in
        for value in (*gradient.primal.free, *gradient.primal.definitions()):
            if (series := SERIES.get(value.name)) is not None:
                self._name(value, series, Series(series)[t])
                if (adjoint := delta(series)) is not None:
                    self._name(gradient.adjoints[value], adjoint, Series(adjoint)[t])
            elif (parameter := PARAMETERS.get(value.name)) is not None:
                self.words[value] = Symbol(parameter)
                self.values[f"δ{parameter}"] = gradient.adjoints[value]
        for state in gradient.declaration.states:
            self.words[state.previous] = self.words[state.next].subs(t, t - 1)
        for seed in gradient.seeds:
            if seed.origin is Origin.LOSS:
                self.words[seed.adjoint] = Series("Δ")[t]
            else:  # what comes back is the adjoint that the next step has for the state it began with
                (state,) = [each for each in gradient.declaration.states if each.next == seed.of]
                begun_with = gradient.adjoints[state.previous]
                self.words[seed.adjoint] = self._definition(begun_with).subs(t, t + 1)

    def _name(self, value: Value, name: str, word: Expr) -> None:
        self.words[value], self.values[name] = word, value

    def __getitem__(self, name: str) -> Expr:
        return self._definition(self.values[name])

    def _definition(self, value: Value) -> Expr:
        return self._read(self.definitions[value].expression)

    def _read(self, expression: Expr) -> Expr:
        if isinstance(expression, Value):
            return self.words[expression] if expression in self.words else self._definition(expression)
        if isinstance(expression, Number):
            return expression
        if isinstance(expression, Total):
            return total(self._read(expression.values[0]))
        if isinstance(expression, Contract):
            return product(*map(self._read, expression.values), Symbol(einsum(expression)))
        assert isinstance(expression, Add | Mul | Pow) or is_call(expression), f"nothing in the paper is {expression}"
        function = Function(type(expression).__name__) if is_call(expression) else expression.func
        return function(*map(self._read, expression.args))


def einsum(contraction: Contract) -> str:
    """The axes of a product, lettered in order of appearance: `ij,j->i` is a matrix times a vector."""
    letters: dict[int, str] = {}
    left, right, out = ("".join(letters.setdefault(k, "ijkl"[len(letters)]) for k in axes) for axes in contraction.axes)
    return f"{left},{right}->{out}"


def written_out(expression: Expr) -> Expr:
    """The expression with z, i, f and o as functions of z_bar, i_bar, f_bar and o_bar: dσ(o_bar) is o * (1 - o)."""
    for gate in "zifo":
        squashed = squash if gate == "z" else sigma
        expression = expression.replace(Function(gate), lambda step, g=gate, s=squashed: s(Series(f"{g}_bar")[step]))
    return expand(expression)


def derive() -> Gradient:
    return derive_gradient(lstm, {"peephole": True})


derived = cache(derive)


def differing(gradient: Gradient) -> set[str]:
    """The equations of the backward pass that a gradient has otherwise."""
    found = Reading(gradient)
    return {name for name in BACKWARD_NAMES if written_out(found[name] - published(name)) != 0}


# -- the comparison ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", equations(FORWARD))
def test_the_forward_pass_is_the_published_one(name: str) -> None:
    """With this the two sides speak of one cell; the gates' definitions are compared as they stand."""
    assert expand(Reading(derived())[name] - published(name)) == 0


@pytest.mark.parametrize("name", equations(BACKWARD))
def test_the_backward_pass_is_the_published_one(name: str) -> None:
    assert written_out(Reading(derived())[name] - published(name)) == 0


def test_no_gradient_is_left_without_an_equation() -> None:
    gradient, reading = derived(), Reading(derived())
    assert {name for name in reading.values if name.startswith("δ")} == BACKWARD_NAMES
    handed_back = {gradient.adjoints[state.previous] for state in gradient.declaration.states}
    assert set(gradient.adjoint.results) <= handed_back | {reading.values[name] for name in BACKWARD_NAMES}


# -- the comparison fails where it should ------------------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def wrong_partial(function: type[Expr]) -> Plant:
    right = DEFINITIONS[function]
    wrong = replace(right, partials=lambda *args: tuple(-each for each in right.partials(*args)))
    return lambda monkeypatch: monkeypatch.setitem(DEFINITIONS, function, wrong)


def wrong_product(operand: int) -> Plant:
    right = VJP[Contract]

    def wrong(*args: Any) -> tuple[Expr, ...]:
        return tuple(-term if k == operand else term for k, term in enumerate(right(*args)))

    return lambda monkeypatch: monkeypatch.setitem(VJP, Contract, wrong)


def forgotten_transpose(monkeypatch: pytest.MonkeyPatch) -> None:
    """U @ d_a where U.T @ d_a is due: for a square matrix no check of shapes can tell."""
    right = VJP[Contract]

    def wrong(operation: Contract, y: Value, d_y: Value) -> tuple[Expr, ...]:
        matrix, _ = operation.values
        d_matrix, d_vector = right(operation, y, d_y)
        return d_matrix, Contract(matrix, d_y, *operation.axes) if len(set(matrix.dims)) == 1 else d_vector

    monkeypatch.setitem(VJP, Contract, wrong)


def wrong_algebra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverse, "diff", lambda expression, operand: -diff(expression, operand))


WRONG_RULES: dict[str, tuple[Plant, set[str]]] = {
    "sigmoid": (wrong_partial(sigmoid), {"δo", "δf", "δi"}),
    "tanh": (wrong_partial(tanh), {"δc", "δz"}),
    "by the matrix": (wrong_product(0), {name for name in BACKWARD_NAMES if name[1] in "WR"}),
    "by the vector": (wrong_product(1), {"δy", "δx"}),
    "transpose": (forgotten_transpose, {"δy"}),
    "sums and products": (wrong_algebra, BACKWARD_NAMES),
}


@pytest.mark.parametrize(("plant", "wrong"), WRONG_RULES.values(), ids=WRONG_RULES)
def test_a_wrong_rule_is_found(plant: Plant, wrong: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert differing(derive()) == wrong


def with_a_wrong_sign(gradient: Gradient) -> Iterator[Gradient]:
    """The gradient with the sign of one term changed, for every term of every equation."""
    for k, equation in enumerate(gradient.adjoint.equations):
        terms = Add.make_args(equation.expression)
        for m in range(len(terms)):
            expression = Add(*(-term if n == m else term for n, term in enumerate(terms)))
            changed = list(gradient.adjoint.equations)
            changed[k] = replace(equation, expression=expression)
            yield replace(gradient, adjoint=replace(gradient.adjoint, equations=tuple(changed)))


def test_every_wrong_sign_is_found() -> None:
    """Each makes one of the published equations fail, and there is one that fails each."""
    found = [differing(each) for each in with_a_wrong_sign(derived())]
    assert {len(names) for names in found} == {1}
    assert set().union(*found) == BACKWARD_NAMES


def test_a_value_of_another_step_is_found() -> None:
    """An output gate that sees the cell state of the step before."""

    @cell("late")
    def late(eq: Any) -> None:
        x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")

        def gate(name: str, function: Any, **sees: Any) -> Any:
            return eq.let(name, function(eq.affine(name, W=x, U=h_prev, diagonal=sees)))

        f, i, o = (gate(name, sigmoid, p=c_prev) for name in "fio")
        c = eq.next("c", f * c_prev + i * gate("g", tanh))
        eq.output(eq.next("h", o * tanh(c)))

    assert differing(derive_gradient(late, {})) == {"δc", "δp_o"}
