"""Notations: the same equations in each, and symbols that never look alike."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lstmgen import pipeline, plugins
from lstmgen.api import cell, sigmoid, tanh
from lstmgen.calculus.reverse import Gradient
from lstmgen.declare.cell import Cell
from lstmgen.derivation.formula import Accent, Formula, Number, Symbol
from lstmgen.derivation.narration import narrate
from lstmgen.derivation.notation import Affine, Letter, Notation
from lstmgen.derivation.page import Page, open_page
from lstmgen.errors import PluginError
from lstmgen.finding import find_cell, find_notation
from tests.plain_formulas import plain

ROOT = Path(__file__).resolve().parent.parent
ENTRIES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
CELLS = [plugin.name for plugin in plugins.available("cells") if plugin.packages == ("lstmgen",)]


def registered() -> dict[str, Notation]:
    """The notations that pyproject.toml registers."""
    found = {}
    for name, target in ENTRIES["lstmgen.notations"].items():
        module, _, attribute = target.partition(":")
        found[name] = getattr(import_module(module), attribute)
    return found


NOTATIONS = registered()


def opened(origin: str | Cell, notation: str | Notation, **options: Any) -> Page:
    gradient: Gradient = pipeline.derive_gradient(find_cell(origin), options)
    return open_page(narrate(gradient), NOTATIONS[notation] if isinstance(notation, str) else notation)


def forward(page: Page, name: str) -> str:
    """The printed forward equation of a value."""
    (equation,) = (each for each in page.telling.forward if each.target.name == name)
    return plain(page.equation_of(equation))


def backward(page: Page, name: str) -> str:
    """The printed adjoint equation of a value."""
    every = (*page.telling.backward, *page.telling.sums)
    (told,) = (each for each in every if each.value.name == name)
    return f"{plain(page.own_adjoint(told.value))} = {plain(page.write(told.equation.expression))}"


THREE = {
    "standard": (
        "a_{f,t} = W_f x_t + U_f h_{t - 1} + b_f",
        "c_t = f_t ⊙ c_{t - 1} + i_t ⊙ c̃_t",
        "∂L/∂a_{f,t} = ∂L/∂f_t ⊙ f_t ⊙ (1 - f_t)",
    ),
    "olah": (
        "a_{f,t} = W_f [h_{t - 1}, x_t] + b_f",
        "C_t = f_t * C_{t - 1} + i_t * C̃_t",
        "∂L/∂a_{f,t} = ∂L/∂f_t * f_t * (1 - f_t)",
    ),
    "torch": (
        "a_{f,t} = W_{if} x_t + b_{if} + W_{hf} h_{t - 1} + b_{hf}",
        "c_t = f_t ⊙ c_{t - 1} + i_t ⊙ g_t",
        "∂L/∂a_{f,t} = ∂L/∂f_t ⊙ f_t ⊙ (1 - f_t)",
    ),
    "ng": (
        "z_f^{⟨t⟩} = W_f [a^{⟨t - 1⟩}, x^{⟨t⟩}] + b_f",
        "c^{⟨t⟩} = Γ_f^{⟨t⟩} * c^{⟨t - 1⟩} + Γ_u^{⟨t⟩} * c̃^{⟨t⟩}",
        "∂L/∂z_f^{⟨t⟩} = ∂L/∂Γ_f^{⟨t⟩} * Γ_f^{⟨t⟩} * (1 - Γ_f^{⟨t⟩})",
    ),
    "greff": (
        "f̄^t = W_f x^t + R_f y^{t - 1} + b_f",
        "c^t = f^t ⊙ c^{t - 1} + i^t ⊙ z^t",
        "δf̄^t = δf^t ⊙ f^t ⊙ (1 - f^t)",
    ),
    "words": (
        "a_{r,t} = W_r x_t + U_r wm_{t - 1} + b_r",
        "ltm_t = remember_t ⊙ ltm_{t - 1} + save_t ⊙ candidate_t",
        "∂L/∂a_{r,t} = ∂L/∂remember_t ⊙ remember_t ⊙ (1 - remember_t)",
    ),
    "ad": (
        "a_{f,t} = W_f x_t + U_f h_{t - 1} + b_f",
        "c_t = f_t ⊙ c_{t - 1} + i_t ⊙ g_t",
        "ā_{f,t} = f̄_t ⊙ f_t ⊙ (1 - f_t)",
    ),
    "code": (
        "a_f = W_f @ x + U_f @ h_prev + b_f",
        "c = f * c_prev + i * g",
        "d_a_f = d_f * f * (1 - f)",
    ),
}


@pytest.mark.parametrize("name", THREE)
def test_three_equations_in_every_notation(name: str) -> None:
    page = opened("lstm", name)
    assert (forward(page, "a_f"), forward(page, "c"), backward(page, "a_f")) == THREE[name]


def test_every_notation_is_registered_by_its_name_and_described() -> None:
    assert set(NOTATIONS) == set(THREE)
    for name, notation in NOTATIONS.items():
        assert notation.name == name
        assert notation.description


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("name", CELLS)
def test_no_two_quantities_of_a_cell_look_alike(name: str, notation: str) -> None:
    page = opened(name, notation)
    primal = page.gradient.primal
    values = [*primal.free, *(each.target for each in primal.equations if each.target not in page.telling.inline)]
    symbols: dict[Formula, str] = {}
    for value in values:
        assert symbols.setdefault(page.write(value), value.name) == value.name
    stems = [joined.matrix for joined in page.write.joined.values()]
    stems += [stem for paired in page.write.paired.values() for stem in paired.stems if len(paired.stems) > 1]
    assert len(set(stems)) == len(stems)
    assert not set(map(page.write.stem, stems)) & symbols.keys()


def test_a_bias_for_each_matrix_where_pytorch_keeps_one() -> None:
    page = opened("gru", "torch")
    assert forward(page, "m") == "m_t = W_{hn} h_{t - 1} + b_{hn}"
    assert forward(page, "a_n") == "a_{n,t} = W_{in} x_t + b_{in} + r_t ⊙ m_t"
    told = {each.value.name: each.value for each in page.telling.sums}
    assert [*map(plain, page.own_adjoints(told["b_r"]))] == ["∂L/∂b_{ir}", "∂L/∂b_{hr}"]


def test_the_candidate_has_the_letter_of_its_state() -> None:
    assert forward(opened("gru", "standard"), "n") == "h̃_t = tanh(a_{h,t})"
    assert forward(opened("gru", "standard"), "a_n") == "a_{h,t} = W_h x_t + b_h + r_t ⊙ m_t"


def test_peepholes_and_gates_before_the_product() -> None:
    assert forward(opened("lstm", "greff", peephole=True), "a_f") == (
        "f̄^t = W_f x^t + R_f y^{t - 1} + p_f ⊙ c^{t - 1} + b_f"
    )
    assert forward(opened("lstm", "olah", peephole=True), "a_f") == (
        "a_{f,t} = W_{fx} x_t + W_{fh} h_{t - 1} + p_f * C_{t - 1} + b_f"
    )
    assert forward(opened("gru", "standard", reset="before"), "a_n") == (
        "a_{h,t} = W_h x_t + U_h (r_t ⊙ h_{t - 1}) + b_h"
    )


def test_what_keeps_its_name_keeps_it_below_its_parameters_too() -> None:
    """The update gate of this cell is z, and so the candidate is not."""
    assert forward(opened("gru", "greff"), "a_n") == "n̄^t = W_n x^t + b_n + r^t ⊙ m^t"
    assert forward(opened("gru", "greff"), "m") == "m^t = R_n y^{t - 1} + bu_n"


def test_gains_and_weights_of_an_output_are_no_peepholes() -> None:
    assert "gain_{x,f} ⊙ centred_{wx,f}^t" in forward(opened("lstm_layernorm", "greff"), "a_f")
    assert "R_y ⊙ y^{t - 1}" in forward(opened("indrnn", "greff"), "a_h")
    assert "p_f ⊙ c^{t - 1}" in forward(opened("sru", "greff"), "a_f")


def test_weights_have_the_letter_of_what_they_are_multiplied_with() -> None:
    assert "W_{rate,b} b^{⟨t⟩}" in forward(opened("cfc", "ng"), "a_rate")
    assert "W_{mh} m_t" in forward(opened("lmu", "torch"), "a_h")
    assert forward(opened("lmu", "torch"), "u") == "u_t = e_xᵀ x_t + e_hᵀ h_{t - 1} + e_mᵀ m_{t - 1}"
    assert "σ(Q_1 y^{t - 1})" in forward(opened("mogrifier_lstm", "greff"), "x_1")


def test_descriptions_have_the_words_of_the_notation_once() -> None:
    page = opened("lstm", "ng")
    assert page.words("input gate") == "update gate"
    assert page.words("update gate") == "update gate"
    assert opened("lstm", "words").words("logarithm of the forget gate") == "logarithm of the remember vector"
    assert opened("lstm", "standard").words("forget gate") == "forget gate"


@cell("strange")
def strange(eq: Any) -> None:
    """Names that no notation has a letter for, and two that would share one."""
    x, h_prev = eq.input("x"), eq.state("h")
    u = eq.let("u", sigmoid(eq.affine("u", W=x, U=h_prev)), "update gate")
    i = eq.let("i", sigmoid(eq.affine("i", W=x, U=h_prev)), "input gate")
    alpha2 = eq.let("alpha2", tanh(eq.affine("n", W=x)), "something of its own")
    eq.output(eq.next("h", u * h_prev + i * alpha2, "hidden state"))


def test_what_has_no_letter_keeps_its_name_and_what_would_clash_too() -> None:
    assert forward(opened(strange, "ng"), "h") == ("a^{⟨t⟩} = u^{⟨t⟩} * a^{⟨t - 1⟩} + i^{⟨t⟩} * alpha_2^{⟨t⟩}")


def test_a_notation_is_data() -> None:
    """One of a user's own: other letters, nothing else to write."""
    mine = Notation("mine", "a hat for the cell state", letters={"cell state": Letter("s", accent=Accent.HAT)})
    assert forward(opened("lstm", mine), "h") == "h_t = o_t ⊙ tanh(ŝ_t)"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("standard", "c_1"), ("greff", "c^1"), ("ng", "c^{⟨1⟩}"), ("ad", "c_1"), ("words", "ltm_1"), ("code", "c_prev")],
)
def test_a_page_of_one_step_names_that_step(name: str, expected: str) -> None:
    gradient = pipeline.derive_gradient(find_cell("lstm"), {})
    page = open_page(narrate(gradient), NOTATIONS[name], Number("2"))
    assert plain(page.write(gradient.declaration.states[1].previous)) == expected


@cell("lookalikes")
def lookalikes(eq: Any) -> None:
    x, h_prev = eq.input("x"), eq.state("h")
    gain = eq.let("L", sigmoid(eq.affine("q__", W=x, U=h_prev)))
    one = eq.let("x1", tanh(eq.affine("T", W=x)))
    other = eq.let("x_1", tanh(eq.affine("F", W=x)))
    scale, shift = eq.parameter("T", "hidden"), eq.parameter("T_", "hidden")
    eq.output(eq.next("h", gain * one * scale + other * shift))


@pytest.mark.parametrize("notation", NOTATIONS)
def test_declared_names_that_would_look_alike_are_printed_to_the_letter(notation: str) -> None:
    page = opened(lookalikes, notation)
    stems = [stem for value, stem in page.write.names.stems.items() if value not in page.write.names.before]
    assert len(set(stems)) == len(stems)
    assert not [stem for stem in stems if "" in stem.below]


def test_the_loss_and_the_last_step_have_letters_that_the_cell_leaves() -> None:
    page = opened(lookalikes, "standard")
    assert forward(page, "h") == "h_t = L_t ⊙ x1_t ⊙ T + x_1_t ⊙ T_"
    assert backward(page, "L") == "∂J/∂L_t = ∂J/∂h_t ⊙ T ⊙ x1_t"
    assert page.write.names.unused("T", "N") == Symbol("N")


@pytest.mark.parametrize("affine", Affine)
def test_a_notation_without_weights_keeps_declared_names(affine: Affine) -> None:
    page = opened("lstm", Notation("bare", "nothing but a way to write affine maps", affine=affine))
    assert forward(page, "a_f") == "a_{f,t} = W_f x_t + U_f h_{t - 1} + b_f"


def test_a_gate_called_t_is_no_time() -> None:
    @cell("highway")
    def highway(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        t = eq.let("t", sigmoid(eq.affine("t", W=x, U=h_prev)), "transform gate of its own")
        eq.output(eq.next("h", t * h_prev, "hidden state"))

    page = open_page(narrate(pipeline.derive_gradient(highway, {})), NOTATIONS["standard"], Number("2"))
    assert forward(page, "h") == "h_2 = t_2 ⊙ h_1"
    assert forward(page, "a_t") == "a_{t,2} = W_t x_2 + U_t h_1 + b_t"


def test_what_is_no_notation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "load", lambda group, name: "a string")
    with pytest.raises(PluginError, match="the notation 'mine' is broken") as caught:
        find_notation("mine")
    assert caught.value.code == "LG203"


def test_signs_of_the_derivation_are_no_names_of_values() -> None:
    @cell("signs")
    def signs(eq: Any) -> None:
        x, partial_prev = eq.input("x"), eq.state("partial")
        gate = eq.let("sigma", sigmoid(eq.affine("sigma", W=x, U=partial_prev)), "a gate")
        nabla = eq.let("nabla", tanh(eq.affine("nabla", W=x)), "slope")
        eq.output(eq.next("partial", gate * nabla))

    page = opened(signs, "standard")
    assert forward(page, "sigma") == "σ_t = sigmoid(a_{σ,t})"
    assert forward(page, "partial") == "partial_t = σ_t ⊙ nabla_t"


def test_where_all_letters_of_the_loss_are_taken_another_is_found() -> None:
    page = opened(lookalikes, "standard")
    assert page.write.names.unused("L", "x") == Symbol("A")
