"""The narration: every step of the calculus is told once, and the steps add up to the adjoint they are told under.

What becomes of it in print is for the tests of notations, translation and outline.
"""

# ruff: noqa: N806  (matrices keep the capital letters of their equations)

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from lstmgen.api import cell, exp, max_over, maximum, outer, relu, sigmoid, sqrt, stop_gradient, sum_over, tanh
from lstmgen.calculus.interpreter import Interpreter
from lstmgen.calculus.reverse import Gradient
from lstmgen.calculus.text import Text
from lstmgen.declare.cell import Cell
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.declare.symbols import Role
from lstmgen.derivation.narration import Derivation, narrate
from lstmgen.derivation.telling import tell
from lstmgen.finding import find_cell
from lstmgen.pipeline import derive_gradient
from lstmgen.verify.sample import Sample, choose_sizes, draw

Array = np.ndarray[Any, Any]
Values = dict[str, Any]


@cell("fan")
def fan(eq: Any) -> None:
    """Values read twice, sums of calls, kinks, two outputs of which one is a state."""
    x = eq.input("x")
    h_prev, c_prev = eq.state("h"), eq.state("c")
    u = eq.let("u", eq.affine("u", W=x, U=h_prev) * 2)
    c = eq.next("c", c_prev * 0.5 + tanh(u * h_prev) + sigmoid(u))
    h = eq.next("h", tanh(c) * u + u**2 / (1 + u**2))
    y = eq.let("y", relu(h) + maximum(c, h))
    eq.output(y, h)


@cell("memory")
def memory(eq: Any) -> None:
    """A matrix for a state, products inside quotients, reductions, sizes, parameters' own equations."""
    x = eq.input("x")
    C_prev, n_prev = eq.state("C", "value", "key"), eq.state("n", "key")
    W_k, W_v = eq.parameter("W_k", "key", "features"), eq.parameter("W_v", "value", "features")
    s, t = eq.parameter("s"), eq.parameter("t", "key")
    k = eq.let("k", W_k @ x / sqrt(eq.size("key")) * exp(t))
    v = eq.let("v", W_v @ x)
    f = eq.let("f", sigmoid(sum_over(k, "key") * s))
    m = eq.let("m", max_over(n_prev, "key"))
    w = eq.let("w", tanh(sum_over(v, "value")))
    n = eq.next("n", f * n_prev + k * m - stop_gradient(w))
    C = eq.next("C", f * C_prev + outer(v, k))
    eq.output(eq.let("y", C @ k / maximum(abs(sum_over(n * k, "key")), 1)))


@cell("reset")
def reset(eq: Any) -> None:
    """A gate before the product: two products in a row from state to state."""
    x, h_prev = eq.input("x"), eq.state("h")
    r = eq.let("r", sigmoid(eq.affine("r", W=x, U=h_prev)))
    z = eq.let("z", sigmoid(eq.affine("z", W=x, U=h_prev)))
    n = eq.let("n", tanh(eq.affine("n", W=x, U=r * h_prev)))
    eq.output(eq.next("h", (1 - z) * n + z * h_prev))


CELLS: dict[str, str | Cell] = {"lstm": "lstm", "fan": fan, "memory": memory, "reset": reset}


@pytest.fixture(params=CELLS.values(), ids=list(CELLS))
def derivation(request: pytest.FixtureRequest) -> Derivation:
    """What `lstmgen.derive` gives for one of the cells."""
    return narrate(derive_gradient(find_cell(request.param), {}))


def language(sizes: Mapping[str, int]) -> Values:
    """The words of the page for one row: arrays have no axis of rows, so a total over rows is the row itself."""

    def over(reduce: Callable[..., Array]) -> Callable[[Array, str], Array]:
        # The sizes of a sample are distinct, so a dimension's size finds its axis.
        return lambda array, dim: reduce(array, axis=np.shape(array).index(sizes[dim]))

    return {
        **{definition.name: definition.evaluate for definition in DEFINITIONS.values() if definition.evaluate},
        **sizes,
        "sum_over": over(np.sum),
        "max_over": over(np.max),
        "first_maximum": over(lambda array, axis: (np.arange(array.shape[axis]) == array.argmax(axis)).astype(float)),
        "outer": np.multiply.outer,
        "contract": lambda a, b, spec: np.einsum(spec, a, b),
        "total": lambda array: array,
        "stop_gradient": lambda array: array,
    }


def one_row(gradient: Gradient) -> tuple[Sample, Values]:
    """A sample of one step and row, and what it gives by name: inputs, previous states, parameters, seeds, sizes."""
    sample = draw(gradient, steps=1, rows=1)
    seeds = {
        seed.adjoint.name: sample.d_outputs[seed.of.name][0, 0]
        if seed.origin == "loss"
        else sample.d_final[seed.of.name][0]
        for seed in gradient.seeds
    }
    given = {name: array[0, 0] for name, array in sample.inputs.items()}
    given |= {f"{name}_prev": array[0] for name, array in sample.initial.items()}
    return sample, {**language(sample.sizes), **sample.parameters, **given, **seeds}


def extent(dims: tuple[str, ...], sample: Sample) -> tuple[int, ...]:
    """The shape of an array without rows."""
    return tuple(sample.sizes[dim] for dim in dims)


def reduced(term: Array, shape: tuple[int, ...]) -> Array:
    """A term summed over the axes that `shape` lacks: the adjoint of a broadcast. Sizes are distinct."""
    for size in set(term.shape) - set(shape):
        term = term.sum(axis=term.shape.index(size))
    return np.broadcast_to(term, shape)


def test_every_equation_of_the_adjoint_graph_is_told_once(derivation: Derivation) -> None:
    gradient = derivation.gradient
    passages = [*derivation.backward, *derivation.sums]
    own = [passage.equation for passage in passages if not passage.borrowed]
    inlined = [each for each in gradient.adjoint.equations if each.target.role == Role.INTERMEDIATE]
    assert len({each.target for each in own}) == len(own)
    assert {each.target for each in [*own, *inlined]} == {each.target for each in gradient.adjoint.equations}
    assert all(equation in gradient.adjoint.equations for equation in own)


@pytest.mark.parametrize("in_place", [True, False])
def test_every_use_of_the_chain_rule_is_told(derivation: Derivation, in_place: bool) -> None:
    gradient, telling = derivation.gradient, tell(derivation, in_place=in_place)
    ways = [way for told in (*telling.backward, *telling.sums) for way in told.ways]
    told = [step for way in ways for step in way.steps]
    defined = gradient.adjoint.definitions()
    expected = [step for step in gradient.steps if gradient.adjoints.get(step.operand) in defined]
    assert {str(step) for step in told} == {str(step) for step in expected}
    seeds = [way.seed for way in ways if way.seed]
    assert sorted(map(str, seeds)) == sorted(map(str, gradient.seeds))


@pytest.mark.parametrize("in_place", [True, False])
def test_the_ways_of_every_value_add_up_to_its_adjoint(derivation: Derivation, in_place: bool) -> None:
    gradient, telling = derivation.gradient, tell(derivation, in_place=in_place)
    sample, values = evaluated(gradient)
    text = Text(derivation.inlined_forward | derivation.inlined_backward)

    def value_of(expression: Any) -> Array:
        return np.asarray(eval(text(expression), {}, values))

    assert telling.backward
    for told in (*telling.backward, *telling.sums):
        shape = extent(told.value.dims, sample)
        total = np.zeros(shape)
        for way in told.ways:
            if way.seed is not None:
                total += values[way.seed.adjoint.name]
                continue
            step = way.steps[-1]
            term = value_of(step.contribution)
            if step.partial is not None:
                product = value_of(gradient.adjoints[step.equation.target]) * value_of(step.partial)
                np.testing.assert_allclose(product, term, rtol=1e-12, atol=1e-15, err_msg=str(step))
                # An elementwise term that has lost a dimension of its target counts once for each of its entries.
                term = np.broadcast_to(term, np.broadcast_shapes(term.shape, extent(step.equation.target.dims, sample)))
            total += reduced(term, shape)
        expected = np.broadcast_to(values[told.equation.target.name], shape)
        np.testing.assert_allclose(total, expected, rtol=1e-12, atol=1e-14, err_msg=told.value.name)


def evaluated(gradient: Gradient) -> tuple[Sample, Values]:
    """Every value of one step and row by name, as the interpreter finds them."""
    sample, values = one_row(gradient)
    (primal,) = sample.trajectory.steps
    free = {value: array for value, array in primal.items() if value in set(gradient.adjoint.free)}
    free |= {seed.adjoint: values[seed.adjoint.name][None] for seed in gradient.seeds}
    for interpreter, found in (
        (Interpreter(gradient.primal, sample.sizes), primal),
        ((adjoint := Interpreter(gradient.adjoint, sample.sizes, gradient.primal.dependence())), adjoint(free, 1)),
    ):
        values |= {value.name: array[0] if interpreter.has_rows(value) else array for value, array in found.items()}
    return sample, values


def test_samples_have_distinct_sizes(derivation: Derivation) -> None:
    """The tests above find an axis by its size."""
    sizes = choose_sizes(derivation.gradient.declaration, derivation.gradient.primal)
    assert len(set(sizes.values())) == len(sizes)
    assert 1 not in sizes.values()
