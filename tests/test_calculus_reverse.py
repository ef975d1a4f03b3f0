"""Reverse mode: the lines a textbook has, and their numbers against derivatives found in other ways.

Everything here runs on the interpreter; that emitted code agrees with it is the business of proofs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from trial_cells import CASES

from lstmgen.api import Cell, cell, max_over, maximum, mean_over, outer, relu, sigmoid, stop_gradient, sum_over, tanh
from lstmgen.calculus.graph import Dependence
from lstmgen.calculus.interpreter import all_dims, derived_sizes
from lstmgen.calculus.normal_form import normalize
from lstmgen.calculus.reverse import Gradient, differentiate
from lstmgen.calculus.text import Text, inlined_products
from lstmgen.calculus.unroll import Adjoints, Trajectory, run, run_adjoint
from lstmgen.cells.lstm import lstm
from lstmgen.declare.operations import StopGradient
from lstmgen.declare.symbols import SHARED_ROLES, Role, Value
from lstmgen.errors import DeclarationError
from lstmgen.verify.differences import complex_step
from lstmgen.verify.sample import Sample, draw

ALL = pytest.mark.parametrize("label", ["lstm", *CASES])


def gradient_of(made: Cell, **options: Any) -> Gradient:
    declaration = made.trace(**options)
    return differentiate(declaration, normalize(declaration))


@cache
def labelled(label: str) -> Gradient:
    made, options = CASES.get(label, (lstm, {}))
    return gradient_of(made, **options)


def lines(gradient: Gradient) -> list[str]:
    """The adjoint's equations as a derivation prints them."""
    text = Text(inlined_products(gradient.adjoint))
    return [text.equation(each) for each in gradient.adjoint.equations if each.target not in text.inline]


# -- text --------------------------------------------------------------------------------------------------------------


def test_lstm_reads_as_in_a_textbook() -> None:
    assert lines(labelled("lstm")) == [
        "d_h = d_outputs + d_h_next",
        "d_tanh_c = d_h * o",
        "d_o = d_h * tanh_c",
        "d_a_o = d_o * o * (1 - o)",
        "d_c = d_c_next + d_tanh_c * (1 - tanh_c**2)",
        "d_g = d_c * i",
        "d_a_g = d_g * (1 - g**2)",
        "d_i = d_c * g",
        "d_a_i = d_i * i * (1 - i)",
        "d_f = d_c * c_prev",
        "d_a_f = d_f * f * (1 - f)",
        "d_h_prev = U_o.T @ d_a_o + U_g.T @ d_a_g + U_i.T @ d_a_i + U_f.T @ d_a_f",
        "d_c_prev = d_c * f",
        "d_x = W_o.T @ d_a_o + W_g.T @ d_a_g + W_i.T @ d_a_i + W_f.T @ d_a_f",
        *(
            line
            for k in "figo"
            for line in (
                f"d_W_{k} = total(outer(d_a_{k}, x))",
                f"d_U_{k} = total(outer(d_a_{k}, h_prev))",
                f"d_b_{k} = total(d_a_{k})",
            )
        ),
    ]


def test_gru_reads_as_in_a_textbook() -> None:
    assert lines(labelled("gru"))[:10] == [
        "d_h = d_outputs + d_h_next",
        "d_n = d_h * (1 - z)",
        "d_a_n = d_n * (1 - n**2)",
        "d_r_h_prev = U_n.T @ d_a_n",
        "d_r = d_r_h_prev * h_prev",
        "d_a_r = d_r * r * (1 - r)",
        "d_z = d_h * (h_prev - n)",
        "d_a_z = d_z * z * (1 - z)",
        "d_h_prev = d_h * z + d_r_h_prev * r + U_r.T @ d_a_r + U_z.T @ d_a_z",
        "d_x = W_n.T @ d_a_n + W_r.T @ d_a_r + W_z.T @ d_a_z",
    ]


def test_adjoints_of_broadcasts_are_sums() -> None:
    @cell("broadcasts")
    def broadcasts(eq: Any) -> None:
        x, s_prev = eq.input("x"), eq.state("s", "value", "key")
        k, b, p = eq.parameter("k"), eq.parameter("b", "key"), eq.parameter("p", "value", "key")
        v = eq.let("v", eq.affine("v", to="value", W=x))
        s = eq.next("s", k * s_prev + b + p * v)
        eq.output(s)

    made = lines(gradient_of(broadcasts))
    assert 'd_k = total(sum_over(sum_over(d_k_s_row, "value"), "key"))' in made, "a scalar: over both, rows and steps"
    assert 'd_b = total(sum_over(d_s, "value"))' in made, "the dimension that is missing"
    assert "d_p = total(d_p_row)" in made, "rows and steps alone"
    assert 'd_v = sum_over(d_v_s_row, "key")' in made, "what every row has for itself is not totalled"


def test_work_on_parameters_alone_is_differentiated_once() -> None:
    """The total stands where rows meet the shared value; what lies below it has no rows."""
    gradient = labelled("leaky")
    made = lines(gradient)
    assert "d_alpha = total(d_alpha_row)" in made
    known = gradient.primal.dependence()
    dependence = gradient.adjoint.dependence(known)
    assert dependence[gradient.adjoints[_value(gradient, "tau")]] is Dependence.SHARED
    assert sum("total" in line for line in made if line.split()[0] in ("d_alpha", "d_tau", "d_softplus_tau")) == 1


def _value(gradient: Gradient, name: str) -> Value:
    return next(value for value in gradient.adjoints if value.name == name)


def test_seeds_step_aside_for_the_names_of_users() -> None:
    """`d_h_next` is the adjoint of a value called `h_next`, `d_outputs_h` of one called `outputs_h`."""
    gradient = labelled("stacked_names")
    assert [seed.adjoint.name for seed in gradient.seeds] == [
        "d_outputs_h_2", "d_outputs_y", "d_h_next_2", "d_c_next",
    ]  # fmt: skip
    assert gradient.adjoints[_value(gradient, "h_next")].name == "d_h_next"


# -- structure ---------------------------------------------------------------------------------------------------------


@ALL
def test_steps_say_what_the_equations_add_up(label: str) -> None:
    """One step for each use of the chain rule: an operand of an equation that an adjoint reaches."""
    gradient = labelled(label)
    for step in gradient.steps:
        assert step.operand in step.equation.expression.free_symbols
        assert step.equation in gradient.primal.equations
        assert (step.partial is None) == (step.rule in {"contract", "sum_over", "max_over", "transpose", "flatten"})
        assert step.operand.role != Role.SIZE
    contributing = {step.operand for step in gradient.steps} | {seed.of for seed in gradient.seeds}
    assert set(gradient.adjoints) <= contributing


@ALL
def test_residuals_are_what_the_adjoint_reads(label: str) -> None:
    gradient = labelled(label)
    seeds = {seed.adjoint for seed in gradient.seeds}
    read = {value for each in gradient.adjoint.equations for value in each.expression.free_symbols}
    free = read & set(gradient.adjoint.free)
    assert set(gradient.residuals) == {value for value in free - seeds if value.role not in SHARED_ROLES}
    assert gradient.adjoint.verify() is gradient.adjoint


@ALL
def test_differentiation_is_deterministic(label: str) -> None:
    one, two = labelled(label), labelled.__wrapped__(label)
    assert one == two
    assert lines(one) == lines(two)


def test_what_no_gradient_reaches_has_no_adjoint() -> None:
    gradient = labelled("stopped_all")
    assert {value.name for value in gradient.adjoints} == {"h"}
    assert gradient.residuals == ()
    assert not gradient.adjoint.equations, "an adjoint that leads to no result is dropped"


def test_a_constant_stands_in_no_adjoint() -> None:
    gradient = labelled("stopped_inputs")
    names = {value.name for value in gradient.adjoints}
    assert "x" not in names, "the input is read under stop_gradient alone"
    assert {"b", "h_prev", "W_q"} <= names


def test_a_scalar_beside_a_square_matrix() -> None:
    @cell("scaled")
    def scaled(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        square, s = eq.parameter("B", "hidden", "hidden"), eq.parameter("s")
        u = eq.let("U", s * square)
        h = eq.next("h", tanh(u @ h_prev + eq.affine("q", W=x)))
        eq.output(h)

    _check_along_directions(gradient_of(scaled))


@pytest.mark.parametrize("reduce", [sum_over, max_over])
def test_reductions_of_square_matrices_are_refused_or_right(reduce: Callable[[Any, str], Any]) -> None:
    @cell("reduced")
    def reduced(eq: Any) -> None:
        x, h_prev, square = eq.input("x"), eq.state("h"), eq.parameter("B", "hidden", "hidden")
        h = eq.next("h", tanh(square @ h_prev + reduce(square, "hidden") + eq.affine("q", W=x)))
        eq.output(h)

    try:
        gradient = gradient_of(reduced)
    except DeclarationError:
        return
    _check_along_directions(gradient)


# -- numbers -----------------------------------------------------------------------------------------------------------


def _loss(trajectory: Trajectory, sample: Sample) -> Any:
    """The weighted sum of all results whose gradient the sample's seeds make."""
    found = [np.sum(sample.d_outputs[name] * array) for name, array in trajectory.outputs.items()]
    return sum([*found, *(np.sum(sample.d_final[name] * array) for name, array in trajectory.final.items())])


def _adjoints(gradient: Gradient, sample: Sample) -> dict[str, Any]:
    found: Adjoints = run_adjoint(gradient, sample.sizes, sample.trajectory, sample.d_outputs, sample.d_final)
    return {**found.parameters, **found.inputs, **{f"initial {name}": a for name, a in found.initial.items()}}


def _point(sample: Sample) -> dict[str, Any]:
    return {**sample.parameters, **sample.inputs, **{f"initial {name}": a for name, a in sample.initial.items()}}


def _check_along_directions(gradient: Gradient) -> None:
    """The gradient by every tensor on its own, along a random direction, against central differences."""
    sample = draw(gradient, steps=3, rows=2)
    held = [each.target for each in gradient.primal.equations if type(each.expression) is StopGradient]
    frozen = [{value: np.array(values[value]) for value in held} for values in sample.trajectory.steps] if held else ()
    random = np.random.default_rng(5)

    def loss() -> float:
        arrays = (sample.sizes, sample.parameters, sample.inputs, sample.initial)
        return float(_loss(run(gradient.declaration, gradient.primal, *arrays, frozen, sample.start), sample))

    adjoints = _adjoints(gradient, sample)
    for name, array in _point(sample).items():
        assert adjoints[name].shape == array.shape
        direction = random.standard_normal(array.shape)
        direction *= 1e-3 / max(float(np.linalg.norm(direction)), 1e-300)
        start = array.copy()
        values = []
        for factor in (1, -1, 2, -2):
            array[...] = start + factor * direction
            values.append(loss())
        array[...] = start
        slope = (8 * (values[0] - values[1]) - (values[2] - values[3])) / 12
        assert np.sum(adjoints[name] * direction) == pytest.approx(slope, rel=1e-6, abs=1e-12), name


@ALL
def test_adjoint_against_differences(label: str) -> None:
    _check_along_directions(labelled(label))


@pytest.mark.parametrize(
    "label",
    ["lstm", "gru_reset_after", "delta_rule", "normalized_jointly", "normalized", "transposed", "scalars", "constants"],
)
def test_adjoint_against_complex_step(label: str) -> None:
    """Every entry, to rounding: for analytic cells the complex step takes no difference."""
    gradient = labelled(label)
    sample = draw(gradient, steps=2, rows=2)
    adjoints = _adjoints(gradient, sample)
    groups = [
        {name: array.astype(complex) for name, array in group.items()}
        for group in (sample.parameters, sample.inputs, sample.initial)
    ]
    parameters, inputs, initial = groups

    def loss() -> complex:
        trajectory = run(gradient.declaration, gradient.primal, sample.sizes, parameters, inputs, initial)
        return complex(_loss(trajectory, sample))

    for name, array in {**parameters, **inputs, **{f"initial {n}": a for n, a in initial.items()}}.items():
        np.testing.assert_allclose(adjoints[name], complex_step(loss, array), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("steps", [0, 1])
@ALL
def test_adjoint_of_few_steps(label: str, steps: int) -> None:
    """Without steps the gradient of the initial state is that of the final one, and all else is zero."""
    gradient = labelled(label)
    sizes = dict.fromkeys(all_dims(gradient.declaration, gradient.primal), 2)
    sizes |= {dim: 2 ** len(parts) for dim, parts in derived_sizes(gradient.primal).items()}
    sizes |= gradient.declaration.fixed_sizes

    def ones(value: Value, *lead: int) -> Any:
        return np.full((*lead, *(sizes[dim] for dim in value.dims)), 0.5)

    declaration = gradient.declaration
    parameters = {each.value.name: ones(each.value) for each in declaration.parameters}
    inputs = {value.name: ones(value, steps, 3) for value in declaration.inputs}
    initial = {state.name: ones(state.next, 3) for state in declaration.states}
    trajectory = run(declaration, gradient.primal, sizes, parameters, inputs, initial)
    adjoints = run_adjoint(gradient, sizes, trajectory, trajectory.outputs, initial)
    for name, array in inputs.items():
        assert adjoints.inputs[name].shape == array.shape
    for name, array in parameters.items():
        assert adjoints.parameters[name].shape == array.shape
        assert steps or not adjoints.parameters[name].any()
    for name, array in initial.items():
        assert adjoints.initial[name].shape == array.shape
        assert steps or (adjoints.initial[name] == array).all()


def _gradient_at(function: Callable[[Any], Any], x: Any) -> Any:
    """d sum(function(x)) / dx by reverse mode, for a stateless function written as a user would."""

    @cell("kink")
    def kink(eq: Any) -> None:
        x, s_prev = eq.input("x"), eq.state("s", "features")
        y = eq.let("y", function(x))
        eq.output(y, eq.next("s", s_prev + x))

    gradient = gradient_of(kink)
    zero = np.zeros((1, 3))
    trajectory = run(gradient.declaration, gradient.primal, {"features": 3}, {}, {"x": x[None, None]}, {"s": zero})
    d_outputs = {"y": np.ones_like(trajectory.outputs["y"]), "s": np.zeros_like(trajectory.outputs["s"])}
    return run_adjoint(gradient, {"features": 3}, trajectory, d_outputs, {"s": zero}).inputs["x"][0, 0].tolist()


@pytest.mark.parametrize(
    ("function", "at", "slope"),
    [
        (relu, [0.0, -1.0, 2.0], [0.0, 0.0, 1.0]),
        (abs, [0.0, -1.0, 2.0], [0.0, -1.0, 1.0]),
        (lambda x: maximum(2 * x, 3 * x), [0.0, -1.0, 2.0], [2.0, 2.0, 3.0]),
        (lambda x: maximum(x, x), [1.0, -1.0, 2.0], [1.0, 1.0, 1.0]),
        (lambda x: max_over(x, "features"), [4.0, 4.0, 4.0], [1.0, 0.0, 0.0]),
        (lambda x: x * max_over(x, "features"), [1.0, 3.0, 3.0], [3.0, 10.0, 3.0]),
        (lambda x: mean_over(x, "features") * sum_over(x, "features"), [1.0, 2.0, 3.0], [4.0, 4.0, 4.0]),
        (lambda x: x * stop_gradient(x), [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        (lambda x: x @ x, [1.0, 2.0, 3.0], [2.0, 4.0, 6.0]),
        (lambda x: sum_over(sigmoid(x) * 0, "features"), [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]),
        (lambda x: outer(x, sum_over(x, "features")), [1.0, 2.0, 3.0], [12.0, 12.0, 12.0]),
    ],
)
def test_slopes_at_kinks_and_elsewhere(function: Callable[[Any], Any], at: list[float], slope: list[float]) -> None:
    assert _gradient_at(function, np.array(at)) == pytest.approx(slope)
