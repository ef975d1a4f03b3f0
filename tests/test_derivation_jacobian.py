"""What is said of a state's Jacobian: the direct paths, and curves that the generated kernels compute."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from formulas_for_tests import name_of, translator

import lstmgen
from lstmgen import plugins
from lstmgen.api import cell, stop_gradient, tanh
from lstmgen.calculus.interpreter import Interpreter
from lstmgen.calculus.text import Text
from lstmgen.calculus.unroll import run
from lstmgen.derivation.document import Equation, Figure, Paragraph, Section, Table
from lstmgen.derivation.drawing import CURVES, Label, Line, Role
from lstmgen.derivation.formula import Number, Symbol
from lstmgen.derivation.jacobian import (
    Curve,
    Curves,
    can_be_drawn,
    carried,
    curves,
    magnitude,
    one_step_jacobians,
    section,
    whole_jacobian,
)
from lstmgen.derivation.narration import narrate
from lstmgen.derivation.notations.standard import standard
from lstmgen.derivation.page import open_page
from lstmgen.derivation.paths import direct_path, has_other_ways
from lstmgen.derivation.plot import Panel, Series, plot
from lstmgen.finding import find_cell
from lstmgen.pipeline import derive_gradient
from lstmgen.verify.sample import draw
from tests.formula_values import Named, value_of
from tests.plain_formulas import plain

CELLS = [each.name for each in plugins.available("cells")]


def gradient_of(name: str, **options: Any) -> Any:
    return derive_gradient(find_cell(name), options)


def section_of(name: str, computed: Curves | None = None) -> Section:
    told = narrate(gradient_of(name))
    return section(told, translator(told.inlined_forward | told.inlined_backward), computed)


def printed(name: str) -> str:
    return " ".join(lstmgen.derive(name).render("text", part="jacobian").split())


def words(found: Section) -> str:
    return " ".join(
        piece for each in found.blocks if isinstance(each, Paragraph) for piece in each.pieces if isinstance(piece, str)
    )


@pytest.mark.parametrize(
    ("name", "state", "path"),
    [
        ("lstm", "c", "f"),
        ("lstm", "h", None),
        ("lstm_1997", "c", "1"),
        ("gru", "h", "z"),
        ("rnn", "h", None),
        ("mingru", "h", "1 - z"),
        ("mlstm", "C", "f"),
        ("lstm_layernorm", "c", "f"),
        ("indrnn", "h", "u_h * where(h > 0, 1, 0)"),
        ("cfn", "h", "f * (1 - tanh_h_prev**2)"),
        ("lmu", "m", None),
        ("lstm_zoneout", "c", "keep_c + f * (1 - keep_c)"),
        ("cornn", "y", "0.9952372"),
    ],
)
def test_the_direct_path_of_a_state(name: str, state: str, path: str | None) -> None:
    gradient = gradient_of(name)
    (found,) = [each for each in gradient.declaration.states if each.name == state]
    partial = direct_path(gradient, found)
    assert (None if partial is None else Text()(partial)) == path


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_has_a_section(name: str) -> None:
    found = section_of(name)
    states = gradient_of(name).declaration.states
    equations = sum(isinstance(block, Equation) and "along the direct path" in block.note for block in found.blocks)
    without = words(found).count("there is no direct path") + words(found).count("No way at all leads")
    assert equations + without == len(states)
    assert found.name == "jacobian"


@pytest.mark.parametrize(
    ("name", "others"),
    [
        *((name, True) for name in ("lstm", "gru", "rnn", "cornn")),
        *((name, False) for name in ("indrnn", "qrnn", "minlstm", "mingru")),
    ],
)
def test_what_is_said_of_the_whole_jacobian_is_true(name: str, others: bool) -> None:
    gradient = gradient_of(name)
    assert has_other_ways(gradient) == others
    assert ("No other way leads on" in words(section_of(name))) != others


def test_a_state_that_no_state_reaches_is_told_so() -> None:
    assert "No way at all leads from " in words(section_of("qrnn"))
    assert "No way at all" not in words(section_of("lstm"))


@pytest.mark.parametrize("name", ["mingru", "minlstm", "lem", "star", "scrn", "cfn"])
def test_what_cannot_grow_is_not_said_to_explode(name: str) -> None:
    assert "They lie between 0 and 1" in words(section_of(name))
    assert "in size it explodes" not in words(section_of(name))
    assert "in size it explodes" in words(section_of("indrnn"))


def test_a_jacobian_through_a_matrix_is_written_out() -> None:
    found = {
        name: [plain(each.formula) for each in section_of(name).blocks if isinstance(each, Equation)] for name in CELLS
    }
    assert found["rnn"] == ["∂h_t/∂h_{t - 1} = diag(1 - h_t^2) U_h"]
    assert "∂m_t/∂m_{t - 1} = A_t + B_t e_mᵀ" in found["lmu"]  # names as the test writes them
    assert "A and B are not trained." in printed("lmu")
    assert "It is the same at every step" not in printed("cornn")
    assert len(found["lstm"]) == 1  # its ways are many


@pytest.mark.parametrize(("name", "state"), [("rnn", "h"), ("lmu", "m"), ("lmu", "h"), ("star", "h"), ("cornn", "z")])
def test_a_jacobian_that_is_written_out_is_that_of_finite_differences(name: str, state: str) -> None:
    gradient = gradient_of(name)
    page = open_page(narrate(gradient), standard)
    (found,) = [each for each in gradient.declaration.states if each.name == state]
    formula = whole_jacobian(gradient, found, page.formula_of)
    assert formula is not None
    sample = draw(gradient, steps=1, rows=1)

    def after(shift: Any) -> Any:
        initial = {**sample.initial, state: sample.initial[state] + shift}
        args = (sample.sizes, sample.parameters, sample.inputs, initial, (), sample.start)
        return run(gradient.declaration, gradient.primal, *args)

    (values,) = after(0.0).steps
    eye = 1e-6 * np.eye(sample.initial[state].shape[-1])
    columns = [(after(each).final[state] - after(-each).final[state])[0] / 2e-6 for each in eye]
    rows = Interpreter(gradient.primal, sample.sizes)
    known = {
        page.write(value): Named(value.dims, np.asarray(array[0] if rows.has_rows(value) else array))
        for value, array in values.items()
        if value not in page.telling.inline
    }
    known[Symbol("I", bold=True)] = Named(found.next.dims * 2, np.eye(len(columns)))
    assert np.allclose(value_of(formula, known).array, np.stack(columns, axis=1), atol=1e-7)


def test_where_no_gradient_goes_back_none_is_said_to() -> None:
    @cell("stopped")
    def stopped(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        eq.output(eq.next("h", tanh(eq.affine("h", W=x)) + stop_gradient(h_prev)))

    told = narrate(derive_gradient(stopped, {}))
    said = words(section(told, translator(told.inlined_forward)))
    assert "No way at all leads" in said and "So no gradient goes back from step to step." in said
    assert "explode" not in said.split("fixed.")[-1]


def test_a_cell_without_a_gate_is_told_what_holds_for_it() -> None:
    assert "nothing in the equations holds it near 1" in words(section_of("rnn"))
    assert "They lie between 0 and 1" in words(section_of("scrn"))
    assert "comes from a sigmoid" in words(section_of("lstm"))
    assert carried(gradient_of("rnn")) is None
    state, bias = carried(gradient_of("lstm")) or (None, None)
    assert state is not None and bias is not None and (state.name, bias.name) == ("c", "b_f")


@pytest.fixture(scope="module")
def computed() -> Curves:
    return curves(lstmgen.load("lstm"), "c", "b_f", lstmgen.load("rnn"), "U_h")


def test_one_step_jacobians_are_those_of_finite_differences() -> None:
    module = lstmgen.load("lstm")
    p = module.Parameters.initialize(features=3, hidden=3, dtype=np.float64, seed=1)
    jacobians, places = one_step_jacobians(module, p, 2)
    assert jacobians.shape == (2, 6, 6) and places == {"h": slice(0, 3), "c": slice(3, 6)}
    inputs = np.random.default_rng(0).standard_normal((2, 1, 3))
    _, before = module.step(p, inputs[0])

    def after(shift: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        state = np.concatenate(before, axis=1) + shift
        return np.concatenate(module.step(p, inputs[1], state=module.State(state[:, :3], state[:, 3:]))[1], axis=1)[0]

    eye = 1e-6 * np.eye(6)
    differences = np.stack([(after(each) - after(-each)) / 2e-6 for each in eye], axis=1)
    assert np.allclose(jacobians[1], differences, atol=1e-8)


def test_the_curves_have_the_published_shape(computed: Curves) -> None:
    """Even the LSTM's full Jacobian vanishes without a forget bias, and with a large one it grows."""
    ends = [curve.norms[-1] for curve in computed.full]
    assert 1e-24 < ends[0] < 1e-19 and 1e-10 < ends[1] < 1e-7 and 1e-3 < ends[2] < 1 and 1 < ends[3] < 1e3
    paths = [curve.norms[-1] for curve in computed.paths]
    assert paths == sorted(paths) and all(path < end for path, end in zip(paths, ends, strict=True))
    plain = [curve.norms[-1] for curve in computed.plain]
    assert plain[0] < 1e-28 and 1e-15 < plain[1] < 1e-8
    assert computed.at == (1, *range(5, 101, 5))
    assert all(len(each.norms) == len(computed.at) for each in (*computed.paths, *computed.full, *computed.plain))


def test_the_section_shows_the_curves(computed: Curves) -> None:
    found = section_of("lstm", computed)
    (figure,) = [block for block in found.blocks if isinstance(block, Figure)]
    lines = [shape.role for shape in figure.drawing.shapes if isinstance(shape, Line) and shape.role != Role.GRID]
    assert lines == [*CURVES, *CURVES, Role.REFERENCE, Role.REFERENCE]
    (table,) = [block for block in found.blocks if isinstance(block, Table)]
    assert len(table.rows) == 4 + 2 and all(len(row) == len(table.head) for row in table.rows)
    assert section_of("lstm", computed) == found


def test_labels_do_not_overlap() -> None:
    drawing = plot((Panel("title", tuple(Series("a", (1.0, 1e-9 * k)) for k in (1, 2, 3))),), "x", "y", range(1, 3))
    labels = [shape for shape in drawing.shapes if isinstance(shape, Label) and shape.role in CURVES]
    heights = sorted(label.at[1] for label in labels)
    assert len(heights) == 3 and all(b - a >= 13.9 for a, b in pairwise(heights))


def test_what_vanishes_altogether_is_drawn_at_the_foot() -> None:
    flat = Curve("bias 0", (1.0, 0.0))
    (figure,) = [
        b for b in section_of("lstm", Curves("c", 1, (1, 2), (flat,), (flat,), ())).blocks if isinstance(b, Figure)
    ]
    ends = [shape.points[-1][1] for shape in figure.drawing.shapes if isinstance(shape, Line)]
    assert max(ends) <= figure.drawing.height
    assert magnitude(0.0) == Number("0")


def test_which_cells_the_curves_can_follow() -> None:
    assert can_be_drawn(gradient_of("lstm").declaration)
    assert not can_be_drawn(gradient_of("mlstm").declaration)
    assert not can_be_drawn(gradient_of("lstm_dropout").declaration)


def test_names_are_written_by_the_notation() -> None:
    told = narrate(gradient_of("lstm"))
    (equation,) = [block for block in section(told, name_of).blocks if isinstance(block, Equation)]
    assert equation.anchor == "jacobian-c"
