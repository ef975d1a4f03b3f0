"""The printed derivation: what it says is what is computed, and nothing in it is left unsaid.

The page is mathematics that runs: its equations, read line by line by Python, must give the gradient of its own forward
equations. Behind the page stand the steps of the calculus; each must add up to the adjoint that it is printed under.
"""

# ruff: noqa: N806  (matrices keep the capital letters of their equations)

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import lstmgen
from lstmgen.api import cell, exp, max_over, maximum, outer, relu, sigmoid, sqrt, stop_gradient, sum_over, tanh
from lstmgen.calculus.interpreter import Interpreter
from lstmgen.calculus.reverse import Gradient
from lstmgen.calculus.text import Text
from lstmgen.declare.cell import Cell
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.declare.symbols import Role
from lstmgen.derivation.narration import Derivation
from lstmgen.derivation.notation import code
from lstmgen.derivation.text import PARTS, render
from lstmgen.errors import UserError
from lstmgen.verify.differences import central_differences
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
    return lstmgen.derive(request.param).derivation


# -- the page ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """The equations of a printed derivation, as (target, expression), in the order of the page."""

    forward: list[tuple[str, str]]
    backward: list[tuple[str, str]]


def read(text: str) -> Page:
    """The equations that stand on a line of their own; the paths' lines have a label, a `where` or no `=`."""
    forward, backward = text.split("\nBackward, ")
    numbered = re.findall(r"^ +\(\d+\)  (\w+) = (.+?)(?:   .*)?$", forward, re.MULTILINE)
    return Page(numbered, re.findall(r"^ +(\w+) = (.+)$", backward, re.MULTILINE))


def names_in(expression: str) -> set[str]:
    """The values that an expression reads: its names, less those of functions and of dimensions."""
    return set(re.findall(r"\b[A-Za-z_]\w*\b(?!\()", re.sub(r'"[^"]*"|\.T\b', "", expression)))


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


def compute(equations: list[tuple[str, str]], values: Values) -> Values:
    """Runs equations one after the other; every name they read must have been given or computed above."""
    values = dict(values)
    for target, expression in equations:
        values[target] = eval(expression, {}, values)
    return values


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


def test_the_page_computes_the_gradient_of_its_own_forward_equations(derivation: Derivation) -> None:
    gradient = derivation.gradient
    page = read(render(derivation, code))
    sample, values = one_row(gradient)
    forward = compute(page.forward, values)
    found = compute(page.backward, forward)
    # What stands under stop_gradient is a constant of the calculus, and must be one of the differences.
    held = {name: forward[name] for name in re.findall(r"stop_gradient\((\w+)\)", str(page.forward))}

    def loss() -> float:
        now = compute([equation for equation in page.forward if equation[0] not in held], {**values, **held})
        return float(sum(np.sum(now[seed.adjoint.name] * now[seed.of.name]) for seed in gradient.seeds))

    wanted = [*sample.parameters, *sample.inputs, *(f"{name}_prev" for name in sample.initial)]
    for name in wanted:
        values[name] = np.array(values[name])  # a scalar parameter, too, is changed in place
    for name in wanted:
        expected = central_differences(loss, values[name])
        np.testing.assert_allclose(
            np.broadcast_to(found[f"d_{name}"], expected.shape), expected, rtol=1e-8, atol=1e-8, err_msg=name
        )


TERMS = [
    (r"(?:the output|the next step): (.+)", "{0}"),
    (r"(?:\(\d+\): )?(.+?) \* d\(.+\)/d\(.+\), where d\(.+\)/d\(.+\) = (.+)", "({0}) * ({1})"),
    (r"(?:\(\d+\): )?.+ gives (.+)", "{0}"),
]


def test_the_ways_to_the_loss_add_up_to_what_is_printed_under_them(derivation: Derivation) -> None:
    page = render(derivation, code)
    sample, values = one_row(derivation.gradient)
    values = compute([*read(page).forward, *read(page).backward], values)
    shapes = {value.name: extent(value.dims, sample) for value in derivation.gradient.adjoints.values()}
    values |= {name: np.broadcast_to(values[name], shape) for name, shape in shapes.items() if name in values}
    blocks = re.findall(r"^  .+ reaches the loss through (.+):\n((?:      .+\n)+)", page, re.MULTILINE)
    assert len(blocks) == len(derivation.backward)
    for ways, block in blocks:
        *lines, result = block.splitlines()
        matches = [(re.fullmatch(rf" +{pattern}", line), form) for line in lines for pattern, form in TERMS]
        terms = [form.format(*match.groups()) for match, form in matches if match]
        assert len(terms) == len(lines)
        assert bool(terms) == (ways not in ("the output", "the next step"))  # which say all in one line
        match = re.fullmatch(r" +(?:(\w+) = (.+)|so the gradient of .+ is (\w+))", result)
        assert match is not None
        name = match[1] or match[3]
        shape = np.shape(values[name])
        total = sum(reduced(np.asarray(eval(term, {}, values)), shape) for term in terms or [match[2]])
        np.testing.assert_allclose(total, values[name], rtol=1e-12, atol=1e-14, err_msg=block)


def test_every_name_on_the_page_is_given_or_defined_above(derivation: Derivation) -> None:
    gradient, page = derivation.gradient, read(render(derivation, code))
    known = {value.name for value in gradient.primal.free} | {seed.adjoint.name for seed in gradient.seeds}
    for target, expression in [*page.forward, *page.backward]:
        assert names_in(expression) <= known, f"{target} = {expression}"
        assert target not in known
        known.add(target)


def test_the_lines_of_the_paths_use_names_of_the_page_alone(derivation: Derivation) -> None:
    page, gradient = read(render(derivation, code)), derivation.gradient
    known = {value.name for value in gradient.primal.free} | {seed.adjoint.name for seed in gradient.seeds}
    known |= {target for target, _ in [*page.forward, *page.backward]}
    partials = re.findall(r", where d\(.+\) = (.+)$", render(derivation, code), re.MULTILINE)
    contributions = re.findall(r" gives (.+)$", render(derivation, code), re.MULTILINE)
    assert partials
    assert contributions
    for expression in [*partials, *contributions]:
        assert names_in(expression) <= known, expression


def test_the_forward_page_is_the_declaration_numbered_from_one(derivation: Derivation) -> None:
    assert [line.number for line in derivation.forward] == list(range(1, len(derivation.forward) + 1))
    declared = [equation.target.name for equation in derivation.gradient.declaration.equations]
    printed = [target for target, _ in read(render(derivation, code)).forward]
    assert [name for name in printed if name in declared] == declared
    for number in re.findall(r"\((\d+)\)", render(derivation, code)):
        assert 1 <= int(number) <= len(printed)


TEXTBOOK = """
d_h = d_outputs + d_h_next
d_o = d_h * tanh_c
d_a_o = d_o * o * (1 - o)
d_c = d_c_next + d_tanh_c * (1 - tanh_c**2)
d_g = d_c * i
d_a_g = d_g * (1 - g**2)
d_i = d_c * g
d_a_i = d_i * i * (1 - i)
d_f = d_c * c_prev
d_a_f = d_f * f * (1 - f)
d_c_prev = d_c * f
d_h_prev = U_o.T @ d_a_o + U_g.T @ d_a_g + U_i.T @ d_a_i + U_f.T @ d_a_f
d_x = W_o.T @ d_a_o + W_g.T @ d_a_g + W_i.T @ d_a_i + W_f.T @ d_a_f
d_W_f = total(outer(d_a_f, x))
d_U_f = total(outer(d_a_f, h_prev))
d_b_f = total(d_a_f)
"""


def test_the_lstm_reads_as_in_a_textbook() -> None:
    page = str(lstmgen.derive("lstm"))
    lines = [line.strip() for line in page.splitlines()]
    assert [line for line in TEXTBOOK.strip().splitlines() if line not in lines] == []
    assert "f reaches the loss through (7):" in page
    assert "d_c * d(c)/d(f), where d(c)/d(f) = c_prev" in page
    assert "h reaches the loss through the output and the next step:" in page
    assert page.startswith("lstm: Long short-term memory with a forget gate.\n===")
    assert "Gers, Schmidhuber & Cummins" in page


def test_a_term_of_a_sum_is_told_to_share_the_adjoint_of_the_sum() -> None:
    page = str(lstmgen.derive(fan))
    assert "      so the gradient of sigmoid_u is d_c\n" in page
    assert page.count("\n      d_c = ") == 1


def test_a_product_that_was_given_no_name_is_told_by_what_it_is() -> None:
    page = str(lstmgen.derive(memory))
    assert "  W_k @ x reaches the loss through (3):\n" in page
    assert "where d(k)/d(W_k @ x) = exp_t / sqrt_key" in page
    assert "      d_W_k_x = d_k * exp_t / sqrt_key" in page


# -- the parts --------------------------------------------------------------------------------------------------------


def test_parts_make_the_whole(derivation: Derivation) -> None:
    parts = [render(derivation, code, part) for part in PARTS]
    assert render(derivation, code) == render(derivation, code)
    assert render(derivation, code).endswith("\n".join(parts))
    assert all(part.endswith("\n") and not part.endswith("\n\n") for part in parts)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(UserError, match="there is no part 'all'") as caught:
        render(lstmgen.derive("lstm").derivation, code, "all")
    assert caught.value.code == "LG401"


# -- the calculus behind the page -------------------------------------------------------------------------------------


def test_every_equation_of_the_adjoint_graph_is_printed_once(derivation: Derivation) -> None:
    gradient = derivation.gradient
    passages = [*derivation.backward, *derivation.sums]
    own = [passage.equation for passage in passages if not passage.borrowed]
    inlined = [each for each in gradient.adjoint.equations if each.target.role == Role.INTERMEDIATE]
    assert len({each.target for each in own}) == len(own)
    assert {each.target for each in [*own, *inlined]} == {each.target for each in gradient.adjoint.equations}
    assert all(equation in gradient.adjoint.equations for equation in own)
    text = Text(derivation.inlined_forward | derivation.inlined_backward)
    printed = [f"{target} = {expression}" for target, expression in read(render(derivation, code)).backward]
    assert printed == [text.equation(equation) for equation in own]


def test_every_use_of_the_chain_rule_is_told_once(derivation: Derivation) -> None:
    told = [path.step for passage in [*derivation.backward, *derivation.sums] for path in passage.paths if path.step]
    seeds = [path.seed for passage in derivation.backward for path in passage.paths if path.seed]
    defined, inlined = derivation.gradient.adjoint.definitions(), derivation.inlined_forward
    adjoints = derivation.gradient.adjoints
    expected = [
        step
        for step in derivation.gradient.steps
        if adjoints.get(step.operand) in defined
        # A product in a sum is read as part of the sum: the step from one to the other is the number 1.
        and not (step.operand in inlined and adjoints[step.operand].name != f"d_{step.operand.name}")
    ]
    assert sorted(map(str, told)) == sorted(map(str, expected))
    assert sorted(map(str, seeds)) == sorted(map(str, derivation.gradient.seeds))


def test_the_paths_of_every_value_add_up_to_its_adjoint(derivation: Derivation) -> None:
    gradient = derivation.gradient
    sample, values = evaluated(gradient)
    text = Text(derivation.inlined_forward | derivation.inlined_backward)

    def value_of(expression: Any) -> Array:
        return np.asarray(eval(text(expression), {}, values))

    passages = [*derivation.backward, *derivation.sums]
    assert passages
    for passage in passages:
        shape = extent(passage.value.dims, sample)
        total = np.zeros(shape)
        for path in passage.paths:
            if path.seed is not None:
                total += values[path.seed.adjoint.name]
                continue
            assert path.step is not None
            step = path.step
            term = value_of(step.contribution)
            if step.partial is not None:
                product = value_of(gradient.adjoints[step.equation.target]) * value_of(step.partial)
                np.testing.assert_allclose(product, term, rtol=1e-12, atol=1e-15, err_msg=str(step))
                # An elementwise term that has lost a dimension of its target counts once for each of its entries.
                term = np.broadcast_to(term, np.broadcast_shapes(term.shape, extent(step.equation.target.dims, sample)))
            total += reduced(term, shape)
        expected = np.broadcast_to(values[passage.equation.target.name], shape)
        np.testing.assert_allclose(total, expected, rtol=1e-12, atol=1e-14, err_msg=passage.value.name)


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
