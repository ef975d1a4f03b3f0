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
from lstmgen.derivation.drawing import Box, Disc, Label, Line, Polygon, Role, Shape
from lstmgen.derivation.formats.dot import graph
from lstmgen.derivation.formats.figures import networks
from lstmgen.derivation.formats.mermaid import chart
from lstmgen.derivation.formats.plain import running
from lstmgen.derivation.formats.svg import element
from lstmgen.derivation.formats.tikz import tikz
from lstmgen.derivation.network import Kind, Network, Node
from lstmgen.derivation.picture import draw, figure, labels
from lstmgen.derivation.picture.heights import isotonic
from lstmgen.derivation.picture.layout import Layout
from lstmgen.derivation.picture.reading import network
from lstmgen.derivation.picture.shapes import drawn
from lstmgen.derivation.picture.wires import pieces
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


def test_what_enters_by_a_matrix_and_entry_by_entry_enters_twice() -> None:
    @cell("twice")
    def twice(eq: Any) -> None:
        """One state, a matrix and a vector of weights for it."""
        x, h_prev = eq.input("x"), eq.state("h")
        eq.output(eq.next("h", sigmoid(eq.affine("h", W=x, U=h_prev) + eq.parameter("p", "hidden") * h_prev)))

    net = network(derive_gradient(twice, {}).declaration, name_of)
    box = found_sign(net, "× p")
    assert read_by(net, box.key) == {"hₜ₋₁"}
    assert {"".join(each.split()) for each in read_by(net, found_sign(net, "+").key)} == {"×p", "[W_h,U_h]"}


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
    lines = len(pieces(layout.wires))
    assert len(ElementTree.fromstring(element(drawing, "")).findall("{*}path")) == lines
    assert tikz(drawing).count("draw[lg-wire]") == lines
    assert (
        len(re.findall("^  n.* -> ", graph(net), re.MULTILINE))
        == len(re.findall(" --[->]", chart(net)))
        == len(net.edges)
    )


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


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in CELLS),
    *(("lstm", {option: True}) for option in ("peephole", "coupled", "full_gate_recurrence")),
    ("lstm_layernorm", {"variant": "torch"}),
    ("mlstm", {"heads": True}),
    ("sru", {"highway": "input"}),
]
every_picture = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)


@every_picture
def test_names_and_marks_meet_nothing(name: str, options: dict[str, Any]) -> None:
    """No label lies on a line, its own or another's, on a dot, a head, a node or another label."""
    layout = layout_of(name, **options)
    drawing = drawn(layout)
    written = [shape for shape in drawing.shapes if isinstance(shape, Label) and shape.role in (Role.NAME, Role.MARK)]
    assert len(written) == sum(node.name is not None for node in layout.network.nodes) + sum(
        bool(edge.mark) for edge in layout.network.edges
    )
    solid = [each for shape in drawing.shapes for each in covered(shape)]
    for index, label in enumerate(written):
        (left, top, right, bottom) = box = extent(label)
        assert left >= 0 and top >= 0 and right <= layout.width and bottom <= layout.height
        met = [each for each in (*solid, *map(extent, written[:index])) if overlap(box, each)]
        assert not met, (running((label.content,)), box, met)


def extent(label: Label) -> tuple[float, float, float, float]:
    found = labels.extent(label)
    return found.left, found.top, found.right, found.bottom


def covered(shape: Shape) -> list[tuple[float, float, float, float]]:
    """The rectangles that a shape lies in."""
    match shape:
        case Line(points):
            pairs = list(pairwise(points))
        case Polygon(points):
            (xs, ys) = ([x for x, _ in points], [y for _, y in points])
            pairs = [((min(xs), min(ys)), (max(xs), max(ys)))]
        case Disc((x, y), radius):
            pairs = [((x - radius, y - radius), (x + radius, y + radius))]
        case Box((x, y), width, height):
            pairs = [((x - width / 2, y - height / 2), (x + width / 2, y + height / 2))]
        case _:
            pairs = []
    return [(min(a, c) - 0.5, min(b, d) - 0.5, max(a, c) + 0.5, max(b, d) + 0.5) for (a, b), (c, d) in pairs]


def overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@every_picture
def test_lines_end_on_nodes_at_places_of_their_own(name: str, options: dict[str, Any]) -> None:
    """Each tip lies on the outline of its node, and no two at one place; sources that are joined do not meet before."""
    layout = layout_of(name, **options)
    check_geometry(layout)
    placed = {each.node.key: each for each in layout.nodes}
    tips: dict[str, list[tuple[float, float]]] = {}
    for wire in layout.wires:
        node = placed[wire.target]
        if node.node.kind is Kind.OUTPUT:
            continue
        (x, y) = wire.points[-1]
        aside, along = abs(y - node.y), abs(x - node.x)
        round_ends = node.node.kind in (Kind.PRODUCT, Kind.SUM, Kind.FUNCTION)
        radius = node.height / 2 if round_ends else 0.0
        if aside < node.height / 2 - 1e-6:  # at the left
            reach = node.width / 2 - radius + (radius**2 - aside**2 if round_ends else 0.0) ** 0.5
            assert abs(along - reach) < 1e-6, (wire, node)
            assert round_ends or aside <= node.height / 2 - 6 or node.node.kind is Kind.JUNCTION
        else:
            assert aside == pytest.approx(node.height / 2) and along <= 1e-6
        assert all(abs(x - u) + abs(y - v) >= 6 for u, v in tips.get(wire.target, [])), wire.target
        tips.setdefault(wire.target, []).append((x, y))


@every_picture
def test_lines_of_different_sources_never_run_in_each_other(name: str, options: dict[str, Any]) -> None:
    layout = layout_of(name, **options)
    segments = [(wire.source, a, b) for wire in layout.wires for a, b in pairwise(wire.points) if a != b]
    for index, (source, a, b) in enumerate(segments):
        for other, c, d in segments[:index]:
            if source == other:
                continue
            for along, across in ((0, 1), (1, 0)):
                same = a[across] == b[across] and c[across] == d[across] and abs(a[across] - c[across]) < 3
                low, high = (
                    max(min(a[along], b[along]), min(c[along], d[along])),
                    min(max(a[along], b[along]), max(c[along], d[along])),
                )
                assert not (same and high - low > 1), (source, other, a, b, c, d)


@every_picture
def test_the_states_lines_come_in_and_go_out_at_one_height(name: str, options: dict[str, Any]) -> None:
    layout = layout_of(name, **options)
    height = {placed.node.key: placed.y for placed in layout.nodes}
    for state in declared(name, **options).states:
        assert height[state.previous.name] == height[f"{state.next.name}_next"]
    if {"c_prev", "h_prev"} <= height.keys():
        assert height["c_prev"] < height["h_prev"]


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "sru", "indrnn", "lstm_layernorm", "slstm"])
def test_a_states_line_has_no_bend(name: str) -> None:
    layout = layout_of(name)
    goals = {wire.target: wire for wire in layout.wires if layout.network.node(wire.target).kind is Kind.NEXT}
    assert all(len({y for _, y in wire.points}) == 1 for wire in goals.values())


def test_what_lines_have_in_common_is_drawn_once_and_branches_leave_it_straight() -> None:
    layout = layout_of("lstm")
    drawn_pieces = [tuple(map(tuple, (sorted(pair) for pair in pairwise(piece)))) for piece in pieces(layout.wires)]
    segments = [segment for piece in drawn_pieces for segment in piece]
    assert len(segments) == len(set(segments))
    inner = {point for piece in pieces(layout.wires) for point in piece[1:-1]}
    assert not inner & set(layout.forks)


def test_joins_look_other_than_partings() -> None:
    layout = layout_of("lstm")
    shapes = [shape for shape in drawn(layout).shapes if isinstance(shape, Box | Disc) and shape.role is Role.FORK]
    placed = [type(shape) for shape in shapes if shape.centre[1] < layout.height]
    assert placed.count(Box) == 1 and placed.count(Disc) == len(layout.forks)


def legend_of(name: str) -> list[Label]:
    layout = layout_of(name)
    return [each for each in drawn(layout).shapes if isinstance(each, Label) and each.role is Role.LEGEND]


@every_picture
def test_a_legend_stands_below_and_fits(name: str, options: dict[str, Any]) -> None:
    layout = layout_of(name, **options)
    drawing = drawn(layout)
    below = [each for each in drawing.shapes if isinstance(each, Label) and each.role is Role.LEGEND]
    for label in below:
        left, top, right, bottom = extent(label)
        assert left >= 0 and right <= drawing.width <= layout.width + 60
        assert top >= layout.height and bottom <= drawing.height


def test_the_legend_says_what_is_in_the_picture() -> None:
    assert [each.content for each in legend_of("lstm")] == [
        "with parameters", "without", "in and out", "a line parts", "lines are joined",
    ]  # fmt: skip
    assert [each.content for each in legend_of("indrnn")][1:] == [
        "in and out", "a line parts", "× at an arrow: elementwise weights",
    ]  # fmt: skip


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
