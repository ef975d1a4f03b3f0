"""The derivation as a document: in a teacher's order, with nothing left unsaid, and every equation of it computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import lstmgen
from lstmgen import pipeline, plugins
from lstmgen.calculus.graph import Graph
from lstmgen.calculus.reverse import Gradient
from lstmgen.calculus.unroll import run, run_adjoint
from lstmgen.choices import PARTS
from lstmgen.declare.declaration import Equation as CellEquation
from lstmgen.derivation.additions import Additions
from lstmgen.derivation.document import Derived, Document, Equation, Paragraph, Section, Table
from lstmgen.derivation.format import Format
from lstmgen.derivation.narration import narrate
from lstmgen.derivation.notation import Notation
from lstmgen.derivation.notations.code import code
from lstmgen.derivation.notations.standard import standard
from lstmgen.derivation.outline import outline
from lstmgen.finding import find_cell
from lstmgen.printed import Printed
from lstmgen.verify.sample import draw
from tests.plain_formulas import page, plain, running

CELLS = [plugin.name for plugin in plugins.available("cells") if plugin.packages == ("lstmgen",)]


@cache
def gradient_of(name: str) -> Gradient:
    return pipeline.derive_gradient(find_cell(name), {})


def document(name: str, notation: Notation = standard, **arguments: Any) -> Document:
    return outline(narrate(gradient_of(name)), notation, **arguments)


def equations(made: Document, *sections: str) -> Iterator[Equation]:
    """The displayed equations of some sections, results of the backward pass among them."""
    for section in made.sections:
        if section.name in sections:
            for block in section.blocks:
                if isinstance(block, Equation):
                    yield block
                elif isinstance(block, Derived):
                    yield block.result


def evidence(made: Document, *sections: str) -> tuple[CellEquation, ...]:
    """The calculus' equations behind the printed ones, each once, in the order of the page."""
    found: dict[CellEquation, None] = {}
    for equation in equations(made, *sections):
        assert isinstance(equation.evidence, tuple | None)
        found |= dict.fromkeys(equation.evidence or ())
    return tuple(found)


# -- what is printed is computed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("notation", [standard, code], ids=lambda each: each.name)
@pytest.mark.parametrize("name", CELLS)
def test_the_printed_equations_in_their_order_compute_forward_and_gradient(name: str, notation: Notation) -> None:
    """Every printed equation reads what stands above it; together they are the whole of both graphs."""
    gradient, made = gradient_of(name), document(name, notation)
    primal = replace(gradient.primal, equations=evidence(made, "equations")).verify()
    adjoint = replace(gradient.adjoint, equations=evidence(made, "backward", "sums")).verify()
    assert set(primal.equations) == set(gradient.primal.equations)
    assert set(adjoint.equations) == set(gradient.adjoint.equations)
    sample = draw(gradient, steps=3, rows=2)
    again = run(
        gradient.declaration, primal, sample.sizes, sample.parameters, sample.inputs, sample.initial, (), sample.start
    )
    for output, expected in sample.trajectory.outputs.items():
        np.testing.assert_allclose(again.outputs[output], expected, rtol=1e-12)
    expected, found = (
        run_adjoint(each, sample.sizes, again, sample.d_outputs, sample.d_final)
        for each in (gradient, replace(gradient, adjoint=adjoint))
    )
    for kind in ("parameters", "inputs", "initial"):
        for key, array in getattr(expected, kind).items():
            np.testing.assert_allclose(getattr(found, kind)[key], array, rtol=1e-10, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_the_printed_equations_give_the_gradients_of_the_kernels(name: str) -> None:
    gradient = gradient_of(name)
    adjoint = replace(gradient.adjoint, equations=evidence(document(name), "backward", "sums"))
    sample = draw(gradient, steps=4, rows=2)
    found = run_adjoint(
        replace(gradient, adjoint=adjoint), sample.sizes, sample.trajectory, sample.d_outputs, sample.d_final
    )
    module = lstmgen.load(name)
    parameters = module.Parameters.from_dict(sample.parameters)
    initial = module.State(**sample.initial)
    _, _, residuals = module.forward(parameters, sample.inputs["x"], initial=initial)
    (d_outputs,) = sample.d_outputs.values()
    grads = module.backward(parameters, residuals, d_outputs, d_final=module.State(**sample.d_final))
    for key, array in found.parameters.items():
        np.testing.assert_allclose(getattr(grads.parameters, key), array, rtol=1e-10, atol=1e-12, err_msg=key)
    np.testing.assert_allclose(grads.inputs.x, found.inputs["x"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_the_matrix_form_stands_for_equations_of_the_calculus(name: str) -> None:
    gradient = gradient_of(name)
    known = {*gradient.primal.equations, *gradient.adjoint.equations}
    assert set(evidence(document(name), "matrix")) <= known
    assert isinstance(gradient.adjoint, Graph)


# -- the order of the telling -----------------------------------------------------------------------------------------


TEXTBOOK = """
f_t = σ(a_{f,t})
c_t = f_t ⊙ c_{t - 1} + i_t ⊙ c̃_t
h_t = o_t ⊙ tanh(c_t)
∂L/∂h_t = ∂L_t/∂h_t + ∂L_t^+/∂h_t
∂L/∂o_t = ∂L/∂h_t ⊙ tanh(c_t)
∂h_t/∂c_t = o_t ⊙ (1 - tanh(c_t)^2)
∂L/∂c_t = ∂L_t^+/∂c_t + ∂L/∂h_t ⊙ o_t ⊙ (1 - tanh(c_t)^2)
∂f_t/∂a_{f,t} = σ(a_{f,t}) ⊙ (1 - σ(a_{f,t})) = f_t ⊙ (1 - f_t)
∂L/∂a_{f,t} = ∂L/∂f_t ⊙ f_t ⊙ (1 - f_t)
∂L_{t - 1}^+/∂c_{t - 1} = ∂L/∂c_t ⊙ f_t
∂L/∂W_f = Σ_t ∂L/∂a_{f,t} x_tᵀ
∂L/∂U_f = Σ_t ∂L/∂a_{f,t} h_{t - 1}ᵀ
∂L/∂b_f = Σ_t ∂L/∂a_{f,t}
a_t = W x_t + U h_{t - 1} + b
∂L/∂x_t = Wᵀ ∂L/∂a_t
"""


def test_the_lstm_reads_as_in_a_textbook() -> None:
    text = page(document("lstm"))
    told = text.splitlines()
    for line in TEXTBOOK.strip().splitlines():
        assert any(line in each for each in told), line
    assert "c_t reaches the loss through c_{t + 1} and through h_t." in text
    assert "c_t = f_t ⊙ (f_{t - 1} ⊙ c_{t - 2} + i_{t - 1} ⊙ c̃_{t - 1}) + i_t ⊙ c̃_t" in text
    assert "forget gate, in (0, 1)" in text
    assert "Gers, Schmidhuber & Cummins" in text
    assert len(told) < 220  # six pages hold about that much


def test_a_value_that_one_equation_reads_twice_has_one_local_derivative() -> None:
    """Both ways from the first gate of a coupled cell go through the cell state."""
    made = outline(narrate(pipeline.derive_gradient(find_cell("lstm"), {"coupled": True})), standard)
    for section in made.sections:
        for block in section.blocks:
            if isinstance(block, Derived):
                lefts = [plain(step.formula).split(" = ")[0] for step in block.steps]
                assert len(lefts) == len(set(lefts))


@pytest.mark.parametrize("name", CELLS)
def test_every_result_of_the_backward_pass_has_its_ways_named_and_its_sources_linked(name: str) -> None:
    made = document(name)
    anchors = [equation.anchor for equation in equations(made, "equations", "backward", "sums") if equation.anchor]
    assert len(anchors) == len(set(anchors))
    for section in made.sections:
        for block in section.blocks:
            if isinstance(block, Derived):
                assert " reaches the loss through " in running(block.lead)
                assert set(block.sources) <= set(anchors)
                assert block.sources or "the output" in running(block.lead) or "t + 1}" in running(block.lead)


def test_forward_equations_are_numbered_from_one() -> None:
    numbers = [equation.number for equation in equations(document("gru"), "equations")]
    assert numbers == [f"({count})" for count in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("name", CELLS)
def test_every_symbol_of_the_inputs_parameters_and_states_is_in_the_table(name: str) -> None:
    made, gradient = document(name), gradient_of(name)
    (table,) = (block for section in made.sections for block in section.blocks if isinstance(block, Table))
    listed = {piece for row in table.rows for piece in row[0] if not isinstance(piece, str)}
    from lstmgen.derivation.page import open_page

    write = open_page(narrate(gradient), standard).write
    declaration = gradient.declaration
    wanted = [
        *declaration.inputs,
        *(each.value for each in declaration.parameters),
        *(each.value for each in declaration.constants),
        *(state.next for state in declaration.states),
    ]
    assert {write(value) for value in wanted} <= listed


# -- parts ------------------------------------------------------------------------------------------------------------


def test_every_part_can_be_had_alone() -> None:
    whole = document("lstm")
    parts = [section for part in PARTS for section in document("lstm", part=part).sections]
    assert [section.name for section in parts] == [section.name for section in whole.sections]
    for alone, within in zip(parts, whole.sections, strict=True):
        assert [block for block in alone.blocks if block in within.blocks] == list(within.blocks)
        besides = [block for block in alone.blocks if block not in within.blocks]
        assert all(isinstance(block, Paragraph) and "entry by entry" in running(block.pieces) for block in besides)
    assert whole.lead
    assert not document("lstm", part="sums").lead


def test_sections_that_are_handed_in_are_parts() -> None:
    extra = Section("example", "A worked example", (Paragraph(("numbers",)),))
    additions = Additions(sections=(extra,))
    assert document("lstm", additions=additions).sections[-1] == extra
    assert document("lstm", additions=additions, part="example").sections == (extra,)
    assert not document("lstm", part="example").sections


def test_brief_leaves_out_the_steps_and_nothing_else() -> None:
    full, brief = document("lstm"), document("lstm", detail="brief")
    results = [[equation.formula for equation in equations(each, "backward", "sums")] for each in (full, brief)]
    assert results[0] == results[1]
    derived = [block for section in brief.sections for block in section.blocks if isinstance(block, Derived)]
    assert derived
    assert not any(block.steps for block in derived)


# -- what derive returns ----------------------------------------------------------------------------------------------


def test_what_derive_returns_prints_itself_in_every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    def printer(form: str) -> Format:
        return Format(lambda made, fragment: f"{form} {made.title} {fragment}")

    printed = Printed(narrate(gradient_of("rnn")), standard)
    monkeypatch.setattr(plugins, "load", lambda group, name: printer(name) if group == "formats" else None)
    title = printed.document().title
    assert str(printed) == f"text {title} False"
    assert printed._repr_markdown_() == f"markdown {title} True"
    assert printed._repr_latex_() == f"latex {title} True"
    assert printed._repr_html_() == f"html {title} True"


def text_of(name: str, part: str, **options: Any) -> str:
    return " ".join(lstmgen.derive(name, **options).render("text", part=part).split())


def test_weights_are_called_by_what_they_are_multiplied_with() -> None:
    assert "parameters: weights of mₜ" in text_of("lmu", "forward")
    assert "weights of" in text_of("mogrifier_lstm", "forward")
    lstm = text_of("lstm", "forward")
    assert lstm.count("weights of") == lstm.count("weights of the input") == 1
    assert "parameters: recurrent weights" in lstm


def test_one_product_is_said_to_be_left_only_where_it_is() -> None:
    for name, left in (("lstm", True), ("gru", False), ("lstm_projected", False), ("lem", False)):
        assert ("has one product left to compute" in text_of(name, "matrix")) == left, name


def test_what_serves_all_steps_is_summed_in_its_rule_too() -> None:
    assert "∂L/∂s = Σ_t ∂L/∂yₜ ⊙ ∂yₜ/∂s + Σ_t ∂L/∂zₜ ⊙ ∂zₜ/∂s" in text_of("unicornn", "backward")


def test_signs_are_explained() -> None:
    product, indicator = "is the product of u and v entry by entry.", "1_{u≥v} is 1 where u ≥ v, and 0 elsewhere."
    assert f"σ(v) = 1 / (1 + exp(−v)). u ⊙ v {product}" in text_of("lstm", "forward")
    assert f"u ⊙ v {product}" in text_of("lstm", "backward"), "a part that is printed alone"
    assert f"u * v {product}" in text_of("lstm", "forward", notation="olah")
    assert indicator not in text_of("mlstm", "forward")
    assert indicator in text_of("mlstm", "backward")


def test_a_sign_is_explained_once_and_before_what_is_derived_with_it() -> None:
    made = document("mlstm")
    blocks = [block for section in made.sections for block in section.blocks]
    said = [running(block.pieces) for block in blocks if isinstance(block, Paragraph)]
    assert sum("is the product of u and v entry by entry." in each for each in said) == 1
    backward = next(section for section in made.sections if section.name == "backward")
    first = next(k for k, block in enumerate(backward.blocks) if isinstance(block, Derived))
    before = backward.blocks[first - 1]
    assert isinstance(before, Paragraph) and "and 0 elsewhere" in running(before.pieces)
