"""Pictures of cells: what is in them, where it stands, and that each printed form is sound."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from formulas_for_tests import name_of

import lstmgen
from lstmgen import plugins
from lstmgen.api import cell, sigmoid
from lstmgen.derivation.formats.dot import graph
from lstmgen.derivation.formats.figures import networks
from lstmgen.derivation.formats.mermaid import chart
from lstmgen.derivation.formats.plain import running
from lstmgen.derivation.formats.svg import element
from lstmgen.derivation.formats.tikz import tikz
from lstmgen.derivation.network import Kind, Network, Node
from lstmgen.derivation.picture import draw, figure
from lstmgen.derivation.picture.heights import isotonic
from lstmgen.derivation.picture.layout import Layout
from lstmgen.derivation.picture.reading import network
from lstmgen.derivation.picture.shapes import drawn
from lstmgen.finding import find_cell
from lstmgen.pipeline import derive_gradient

CELLS = [each.name for each in plugins.available("cells")]


def declared(name: str, **options: Any) -> Any:
    return derive_gradient(find_cell(name), options).declaration


def layout_of(name: str, **options: Any) -> Layout:
    return draw(declared(name, **options), name_of)


def sign_of(node: Node) -> str:
    return running((node.sign,))


def signs(net: Network) -> dict[Kind, list[str]]:
    return {kind: sorted(sign_of(node) for node in net.nodes if node.kind is kind) for kind in Kind}


def test_the_lstm_is_drawn_as_everyone_draws_it() -> None:
    found = signs(network(declared("lstm"), name_of))
    assert found[Kind.GATE] == ["tanh", "σ", "σ", "σ"]
    assert found[Kind.PRODUCT] == ["×"] * 3
    assert found[Kind.SUM] == ["+"]
    assert found[Kind.FUNCTION] == ["tanh"]
    assert len(found[Kind.JUNCTION]) == 1
    assert (found[Kind.PREVIOUS], found[Kind.NEXT]) == (["cₜ₋₁", "hₜ₋₁"], ["cₜ", "hₜ"])
    assert (found[Kind.INPUT], found[Kind.OUTPUT]) == (["xₜ"], ["hₜ"])


def read_by(net: Network, key: str) -> set[str]:
    """The signs, or the names, of what a node reads, after their marks."""
    return {edge.mark + sign_of(net.node(edge.source)) for edge in net.edges if edge.target == key}


def found_sign(net: Network, sign: str) -> Node:
    (node,) = [node for node in net.nodes if sign_of(node) == sign]
    return node


def test_a_joint_normalisation_is_of_the_maps_that_it_reads() -> None:
    """Matrices first, all four in one box; then the norm; then gains, which multiply entry by entry."""
    net = network(declared("lstm_layernorm"), name_of)
    norms = [node.key for node in net.nodes if sign_of(node) == "norm"]
    matrices = [{"[W_f,W_i,W_g,W_o]"}, {"[U_f,U_i,U_g,U_o]"}, {"+"}]
    assert [{each.replace(" ", "") for each in read_by(net, key)} for key in norms] == matrices
    (join,) = [node.key for node in net.nodes if node.kind is Kind.JUNCTION]
    assert {edge.mark for edge in net.edges if edge.source == join} == {"×"}


def test_every_sign_of_a_map_is_drawn() -> None:
    net = network(declared("unicornn"), name_of)
    assert {"−×sₜ", "zₜ₋₁"} == {each.replace(" ", "") for each in read_by(net, "z")}


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("scrn", {"×0.05", "×0.95"}),
        ("mogrifier_lstm", {"2σ"}),
        ("cfc", {"×0.666", "1.7159tanh"}),
        ("mlstm", {"÷√(d_key)", "max(·,·,0)"}),
        ("slstm", {"min(·,0)"}),
        ("fastgrnn", {"×σ(ζ)+σ(ν)"}),
        ("lstm_1997", {"4σ−2", "2σ−1"}),
        ("janet", {"−1+", "1−σ"}),
    ],
)
def test_every_number_is_drawn(name: str, numbers: set[str]) -> None:
    (net,) = networks(lstmgen.derive(name).document(form="svg"))
    assert numbers <= {"".join(sign_of(node).split()) for node in net.nodes}


def test_what_two_functions_read_is_drawn_once() -> None:
    net = network(declared("janet"), name_of)
    shared = found_sign(net, "[W_f, U_f]")
    readers = {sign_of(net.node(edge.target)).replace(" ", "") for edge in net.edges if edge.source == shared.key}
    assert readers == {"σ", "-1+"}


def test_boxes_name_all_of_their_matrices() -> None:
    (net,) = networks(lstmgen.derive("lmu").document(form="svg"))
    assert {"[e_x, e_h, e_m]", "[A, B]"} <= {sign_of(node) for node in net.nodes}


def test_a_choice_says_what_it_asks_and_which_value_is_which() -> None:
    net = network(declared("slstm"), name_of)
    assert "n_prev == 0" in sign_of(net.node("m"))
    assert read_by(net, "m") == {"nₜ₋₁", "then[W_i, R_i]", "elsemax"}


def test_weights_that_multiply_entry_by_entry_are_marked() -> None:
    assert "×hₜ₋₁" in read_by(network(declared("indrnn"), name_of), "h")
    net = network(declared("lstm", peephole=True), name_of)
    peepholes = [edge.target for edge in net.edges if edge.mark == "×"]
    assert peepholes == ["f", "i", "o"]  # each by a line of its own: none enters through a junction


def test_functions_are_called_as_in_equations() -> None:
    assert found_sign(network(declared("indrnn"), name_of), "ReLU").kind is Kind.GATE


def test_nothing_is_lost_of_sums_and_products() -> None:
    @cell("odd")
    def odd(eq: Any) -> None:
        """Numbers and parameters beside several values."""
        x, h_prev = eq.input("x"), eq.state("h")
        p, q = eq.parameter("p", "hidden"), eq.parameter("q", "hidden")
        g = eq.let("g", sigmoid(eq.affine("g", W=x, U=h_prev)))
        a = eq.let("a", p * g * h_prev + q - 3)
        eq.output(eq.next("h", 0.5 * a * g - p * h_prev))

    net = network(derive_gradient(odd, {}).declaration, name_of)
    found = {"".join(sign_of(node).split()) for node in net.nodes}
    assert {"×p", "q-3+", "×0.5"} <= found
    assert "−×p" in {"".join(each.split()) for each in read_by(net, "h")}


def test_the_grus_products_are_told_from_its_maps() -> None:
    """What is only added to an affine map is not multiplied by its matrix, and enters a sum behind it."""
    net = network(declared("gru"), name_of)
    (tanh,) = [node.key for node in net.nodes if sign_of(node) == "tanh"]
    (sources,) = [[edge.source for edge in net.edges if edge.target == tanh]]
    assert [net.node(each).kind for each in sources] == [Kind.SUM]


def test_signs_of_terms_and_divisors_are_marked() -> None:
    marks = {edge.mark for edge in network(declared("mlstm"), name_of).edges}
    assert {"−", "÷"} <= marks


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_can_be_drawn(name: str) -> None:
    layout = layout_of(name)
    net = layout.network
    declaration = declared(name)
    kinds = [node.kind for node in net.nodes]
    assert kinds.count(Kind.PREVIOUS) == kinds.count(Kind.NEXT) == len(declaration.states)
    assert kinds.count(Kind.OUTPUT) == len(declaration.outputs)
    assert {(wire.source, wire.target) for wire in layout.wires} == {(e.source, e.target) for e in net.edges}
    check_geometry(layout)
    drawing = drawn(layout)
    assert len(ElementTree.fromstring(element(drawing, "")).findall("{*}path")) == len(net.edges)
    assert tikz(drawing).count("draw[lg-wire]") == len(net.edges)
    assert graph(net).count(" -> ") == len(re.findall(" --[->]", chart(net))) == len(net.edges)


def check_geometry(layout: Layout) -> None:
    """Lines are level or upright and lie in the picture; nodes do not touch; no line runs through another's node."""
    boxes = {
        p.node.key: (p.x - p.width / 2, p.y - p.height / 2, p.x + p.width / 2, p.y + p.height / 2) for p in layout.nodes
    }
    for key, (left, top, right, bottom) in boxes.items():
        assert left >= 0 and top >= 0 and right <= layout.width and bottom <= layout.height
        for other, (a, b, c, d) in boxes.items():
            assert key == other or right <= a or c <= left or bottom <= b or d <= top, (key, other)
    for wire in layout.wires:
        for (x, y), (u, v) in pairwise(wire.points):
            assert abs(x - u) < 1e-6 or abs(y - v) < 1e-6, (wire, "is slanted")
            for key, (left, top, right, bottom) in boxes.items():
                if key in (wire.source, wire.target):
                    continue
                apart = max(x, u) <= left or min(x, u) >= right or max(y, v) <= top or min(y, v) >= bottom
                assert apart, f"{wire.source} -> {wire.target} runs through {key}"


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "sru", "indrnn", "lstm_layernorm"])
def test_the_states_lines_are_straight(name: str) -> None:
    layout = layout_of(name)
    height = {placed.node.key: placed.y for placed in layout.nodes}
    for state in declared(name).states:
        assert height[state.previous.name] == height[f"{state.next.name}_next"]


def test_equal_cells_give_equal_bytes_whatever_the_hash_seed() -> None:
    script = (
        "from formulas_for_tests import name_of\nfrom test_derivation_picture import layout_of\n"
        "from lstmgen.derivation.picture import figure\n"
        "for name in ('lstm', 'mlstm', 'gru', 'slstm'):\n    each = layout_of(name)\n"
        "    print(figure(each))"
    )
    printed = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys\nsys.path[:0] = {sys.path!r}\n{script}"],
            env={"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        )
        printed.append(done.stdout)
    assert printed[0] == printed[1] != b""


def test_the_figure_says_in_words_what_it_shows() -> None:
    assert "states hₜ₋₁, cₜ₋₁ come in" in running(figure(layout_of("lstm")).alternative)


def test_numbers_stand_in_the_nodes_that_they_are_part_of() -> None:
    @cell("spare")
    def spare(eq: Any) -> None:
        """A product with a number, powers, a shift."""
        x, h_prev = eq.input("x"), eq.state("h")
        g = eq.let("g", sigmoid(eq.affine("g", W=x, U=h_prev)) ** 2)
        eq.output(eq.next("h", 0.5 * h_prev + (1 - g) / (1 + g**2)))

    layout = draw(derive_gradient(spare, {}).declaration, name_of)
    found = signs(layout.network)
    assert {"×0.5", "1−", "1+", "()²"} <= {"".join(each.split()) for each in found[Kind.FUNCTION]}
    check_geometry(layout)


def test_the_closest_ordered_heights() -> None:
    assert isotonic([3.0, 1.0, 2.0, 5.0], [1.0] * 4) == [2.0, 2.0, 2.0, 5.0]
    assert isotonic([1.0, 0.0], [3.0, 1.0]) == [0.75, 0.75]
