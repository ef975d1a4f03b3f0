"""Coefficients of adjoints: what is computed before the reverse loop, under which names, and what stays in it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sympy import Add, Expr, Integer, Mul, Pow
from trial_cells import CASES

from lstmgen import finding, pipeline
from lstmgen.api import Cell, cell, outer, sigmoid, sum_over, tanh, where
from lstmgen.backends.numpy.module import NumpyBackend
from lstmgen.calculus.graph import Dependence, Graph, operands_of
from lstmgen.calculus.operations import Contract
from lstmgen.calculus.text import Text
from lstmgen.declare.declaration import Equation
from lstmgen.declare.operations import SumOver
from lstmgen.declare.symbols import Role, Value
from lstmgen.schedule import plan as planning
from lstmgen.schedule.coefficients import hoist_coefficients, multiples_of_one
from lstmgen.schedule.stacks import slot_rank
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import Region, Schedule, Work

Shell = Callable[..., "subprocess.CompletedProcess[str]"]
Options = dict[str, Any]

# Cells by what they show, as (cell or the name of one, options).
ALL: dict[str, tuple[Any, Options]] = {
    **{name: (name, {}) for name in ("lstm", "gru", "janet", "sru", "unicornn", "mlstm", "slstm", "lstm_layernorm")},
    "lstm peephole": ("lstm", {"peephole": True}),
    "lstm coupled": ("lstm", {"coupled": True}),
    "gru before": ("gru", {"reset": "before"}),
    **CASES,
}


def compiled(made: Cell | str, options: Options | None = None, **switches: bool) -> pipeline.Compiled:
    backend = NumpyBackend()
    backend.target = Target("numpy", **switches)
    found = finding.find_cell(made) if isinstance(made, str) else made
    return pipeline.compile_cell(found, backend, options or {})


def schedule_of(made: Cell | str, options: Options | None = None, **switches: bool) -> Schedule:
    return compiled(made, options, **switches).schedule


def lines(schedule: Schedule, *regions: Region) -> list[str]:
    """The equations of the backward pass in these regions, one after the other, less the products."""
    text = Text()
    equations = [each for region in regions for work in schedule.backward.in_region(region) for each in work.sources]
    return [text.equation(each) for each in equations if not isinstance(each.expression, Contract)]


def hoisted(schedule: Schedule) -> list[str]:
    return lines(schedule, Region.ONCE, Region.BEFORE)


def looped(schedule: Schedule) -> list[str]:
    return lines(schedule, Region.LOOP)


# -- whole cells -------------------------------------------------------------------------------------------------------


def test_an_lstm_has_five_coefficients() -> None:
    assert hoisted(schedule_of("lstm")) == [
        "dh_da_o = tanh_c * o * (1 - o)",
        "dh_dc = o * (1 - tanh_c**2)",
        "dc_da_g = i * (1 - g**2)",
        "dc_da_i = g * i * (1 - i)",
        "dc_da_f = c_prev * f * (1 - f)",
    ]


def test_an_lstm_needs_little_else_in_its_loop() -> None:
    assert sorted(looped(schedule_of("lstm")), key=lambda line: line.partition(" = ")[0]) == [
        "d_a_f = d_c * dc_da_f",
        "d_a_g = d_c * dc_da_g",
        "d_a_i = d_c * dc_da_i",
        "d_a_o = d_h * dh_da_o",
        "d_c = d_c_next + d_h * dh_dc",
        "d_c_prev = d_c * f",  # f is saved: it needs no copy
        "d_h = d_outputs + d_h_next",
        "d_h_prev = d_h_prev_U_o_h_prev + d_h_prev_U_g_h_prev + d_h_prev_U_i_h_prev + d_h_prev_U_f_h_prev",
    ]


def test_the_gates_that_one_adjoint_flows_to_take_one_call_in_their_coefficients_place() -> None:
    plan = schedule_of("lstm").backward
    shared = [work for work in plan.in_region(Region.LOOP) if len(work.sources) == 3]
    assert [[each.target.name for each in work.sources] for work in shared] == [["d_a_i", "d_a_f", "d_a_g"]]
    (adjoints,) = (stack for stack in plan.stacks if stack.value.name == "d_a_oifg")
    assert [[value.name for value in slot] for slot in adjoints.members] == [
        ["dh_da_o", "d_a_o"],
        ["dc_da_i", "d_a_i"],
        ["dc_da_f", "d_a_f"],
        ["dc_da_g", "d_a_g"],
    ]
    assert len(plan.in_region(Region.LOOP)) == 6  # d_h, d_a_o, d_c, the other gates, the product, d_c_prev


def test_a_gru_stops_at_what_is_read_twice() -> None:
    found = schedule_of("gru")
    assert hoisted(found) == [
        "dh_da_n = (1 - z) * (1 - n**2)",
        "dh_da_z = (h_prev - n) * z * (1 - z)",
        "da_n_da_r = m * r * (1 - r)",
    ]
    assert set(looped(found)) >= {
        "d_a_n = d_h * dh_da_n",  # read by d_m, by d_a_r and after the loop
        "d_m = d_a_n * r",
        "d_a_r = d_a_n * da_n_da_r",
        "d_h_prev = d_h * z + d_h_prev_U_n_h_prev + d_h_prev_U_z_h_prev + d_h_prev_U_r_h_prev",
    }


def test_chains_do_not_pass_through_products() -> None:
    assert "dr_h_prev_da_r = h_prev * r * (1 - r)" in hoisted(schedule_of("gru", {"reset": "before"}))


def test_peepholes_keep_their_parameters_in_the_loop() -> None:
    found = schedule_of("lstm", {"peephole": True})
    assert hoisted(found) == hoisted(schedule_of("lstm"))
    assert {"d_c = d_c_next + d_h * dh_dc + d_a_o * p_o", "d_c_prev = d_c * f + d_a_i * p_i + d_a_f * p_f"} <= set(
        looped(found)
    )


def test_what_two_paths_lead_to_has_one_coefficient() -> None:
    found = schedule_of("janet")
    assert "dc_da_f = c_prev * sigmoid_a_f * (1 - sigmoid_a_f) - g * sigmoid_c_sum * (1 - sigmoid_c_sum)" in hoisted(
        found
    )
    assert "d_a_f = d_c * dc_da_f" in looped(found)
    assert "dc_da_f = (c_prev - g) * f * (1 - f)" in hoisted(schedule_of("lstm", {"coupled": True}))


def test_what_the_loss_alone_sends_is_known_too() -> None:
    found = schedule_of("sru")
    assert {"d_c_known = d_outputs * r", "d_c_prev_known = d_a_r * v_r"} <= set(hoisted(found))
    assert {"d_c = d_c_next + d_c_known", "d_c_prev = d_c * f + d_c_prev_known + d_a_f * v_f"} <= set(looped(found))


def test_coefficients_of_parameters_alone_are_computed_once() -> None:
    found = schedule_of("unicornn")
    assert "dz_dy_prev = -0.9 * s" in lines(found, Region.ONCE)
    assert "dz_da_u = -s * (1 - u**2)" in lines(found, Region.BEFORE)


def test_a_cell_may_have_the_names_already() -> None:
    @cell("taken")
    def taken(eq):
        x, h_prev = eq.input("x"), eq.state("h")
        other = eq.let("dh_da_h", tanh(eq.affine("q", W=x)), "not a derivative")
        eq.output(eq.next("h", other * tanh(eq.affine("h", U=h_prev))))

    made = compiled(taken)
    assert "dh_da_h_ = dh_da_h * (1 - tanh_a_h**2)" in hoisted(made.schedule)
    assert pipeline.prove(made).passed


def test_outer_products_are_not_kept_for_every_step() -> None:
    @cell("spread")
    def spread(eq):
        x, C_prev, n_prev = eq.input("x"), eq.state("C", "value", "key"), eq.state("n", "key")  # noqa: N806
        v = eq.let("v", sigmoid(eq.affine("v", to="value", W=x)))
        k = eq.let("k", tanh(eq.affine("k", to="key", W=x, U=n_prev)))
        n = eq.next("n", 0.5 * n_prev + k)
        C = eq.next("C", 0.5 * C_prev * v * k + outer(v, n))  # noqa: N806
        eq.output(eq.let("y", sum_over(C, "key")))

    made = compiled(spread)
    assert "d_C_prev = 0.5 * d_C * v * k" in looped(made.schedule)
    assert not [line for line in hoisted(made.schedule) if line.startswith("dC_dC_prev")]
    assert pipeline.prove(made).passed


def test_conditions_quotients_and_powers() -> None:
    @cell("odd")
    def odd(eq):
        x, h_prev = eq.input("x"), eq.state("h")
        a = eq.let("a", eq.affine("a", W=x, U=h_prev))
        y = eq.let("y", where(a > 0, a, -2 * a) / (1 + h_prev**2))
        h = eq.next("h", tanh(0.5 * y) ** 3)
        eq.output(h)

    made = compiled(odd)
    assert set(hoisted(made.schedule)) == {
        "d_y_part_part = where(a_a > 0, 1, 0)",  # an equation of the gradient
        "dh_dy = 1.5 * tanh_h_part**2 * (1 - tanh_h_part**2)",
        "dy_dy_part_2 = 1 / (1 + h_prev**2)",
        "dy_part_2_da = d_y_part_part - 2 * (1 - d_y_part_part)",
        "dy_dh_prev = -2 * h_prev * y_part_2 / (1 + h_prev**2)**2",
    }
    assert set(looped(made.schedule)) == {
        "d_h = d_outputs + d_h_next",
        "d_y = d_h * dh_dy",
        "d_y_part_2 = d_y * dy_dy_part_2",
        "d_a = d_y_part_2 * dy_part_2_da",
        "d_h_prev = d_y * dy_dh_prev + d_h_prev_U_a_h_prev",
    }
    assert pipeline.prove(made).passed


# -- the function ------------------------------------------------------------------------------------------------------


def value(name: str, *dims: str) -> Value:
    return Value(name, dims or ("hidden",), Role.ADJOINT if name.startswith("d_") else Role.VALUE)


def times(*factors: Any) -> Expr:
    return Mul(*factors, evaluate=False)


def plus(*terms: Any) -> Expr:
    return Add(*terms, evaluate=False)


A, B, K = value("a"), value("b"), value("k", "key")
D_NEXT, D_U, D_V, D_W, D_X, D_PREV = (value(f"d_{name}") for name in ("u_next", "u", "v", "w", "x", "u_prev"))


def hoist(
    *pairs: tuple[Value, Expr],
    after: Sequence[tuple[Value, Expr]] = (),
    lasting: Sequence[Value] = (),
    taken: Sequence[str] = (),
) -> list[str]:
    """What becomes of a loop over these equations, that ``d_u_next`` comes into, and of others after it."""
    work = [Work(target, tree, Region.LOOP, (Equation(target, tree, ""),)) for target, tree in pairs]
    work += [Work(target, tree, Region.AFTER, (Equation(target, tree, ""),)) for target, tree in after]
    found = {read for each in work for read in (*each.reads, each.target)}
    dependence = {each: Dependence.SHARED if each.name.startswith("p") else Dependence.INPUT_ONLY for each in found}
    equations = hoist_coefficients(work, dependence, [D_NEXT], lasting, taken)
    free = tuple(found - {each.target for each in work})
    Graph("hoisted", free, equations, tuple(lasting)).verify()
    return [Text().equation(each) for each in equations]


def test_a_chain_is_put_together() -> None:
    found = hoist((D_U, times(D_NEXT, A)), (D_V, times(D_U, B)), (D_W, times(-1, D_V)), lasting=[D_W])
    assert found == ["du_next_dw = -a * b", "d_w = d_u_next * du_next_dw"]


def test_a_chain_stops_at_a_name_that_is_wanted() -> None:
    found = hoist((D_U, times(D_NEXT, A)), (D_V, times(D_U, B)), lasting=[D_U, D_V])
    assert found == ["d_u = d_u_next * a", "d_v = d_u * b"]


def test_a_chain_stops_at_what_is_read_after_the_loop() -> None:
    found = hoist((D_U, times(D_NEXT, A)), (D_V, times(D_U, B)), after=[(D_W, times(D_U, A))], lasting=[D_V])
    assert found == ["d_u = d_u_next * a", "d_v = d_u * b", "d_w = d_u * a"]


def test_a_chain_stops_at_reductions() -> None:
    scalar = Value("d_s", (), Role.ADJOINT)
    found = hoist((D_U, times(D_NEXT, A)), (scalar, SumOver(D_U, "hidden")), (D_V, times(scalar, B)), lasting=[D_V])
    assert found == ["d_u = d_u_next * a", 'd_s = sum_over(d_u, "hidden")', "d_v = d_s * b"]


def test_a_chain_stops_where_dimensions_change() -> None:
    wide, wider = value("d_m", "hidden", "key"), value("d_n", "hidden", "key")
    found = hoist((D_U, times(D_NEXT, A)), (wide, times(D_U, K)), (wider, times(wide, A)), lasting=[wider])
    assert found == ["d_u = d_u_next * a", "d_m = d_u * k", "d_n = d_m * a"]


def test_a_sum_is_no_link_of_a_chain() -> None:
    found = hoist((D_U, plus(times(D_NEXT, A), value("d_outputs"))), (D_V, times(D_U, B)), lasting=[D_V])
    assert found == ["d_u = d_u_next * a + d_outputs", "d_v = d_u * b"]


def test_terms_with_one_adjoint_are_summed() -> None:
    found = hoist(
        (D_U, plus(times(D_NEXT, A), times(-1, D_NEXT, B), D_NEXT)),
        (D_V, plus(times(2, D_U), times(-1, D_U))),
        (D_W, plus(D_V, times(D_U, A), times(D_NEXT, A))),
        lasting=[D_U, D_W],
    )
    assert found == ["du_next_du = 1 + a - b", "d_u = d_u_next * du_next_du", "du_dw = 1 + a", *found[3:]]
    assert found[3:] == ["d_w = d_u * du_dw + d_u_next * a"]


def test_signs_and_numbers_stay_where_they_cost_nothing() -> None:
    found = hoist(
        (D_U, times(Integer(2), D_NEXT)),
        (D_V, plus(D_U, times(-1, D_NEXT, B))),  # a difference
        (D_W, times(-1, D_V)),
        (D_X, times(-1, D_W, A)),  # a sign of its own
        lasting=[D_U, D_V, D_W, D_X],
    )
    assert found == [
        "d_u = 2 * d_u_next",
        "d_v = d_u - d_u_next * b",
        "d_w = -d_v",
        "dw_dx = -a",
        "d_x = d_w * dw_dx",
    ]


def test_sizes_are_numbers() -> None:
    size = Value("hidden", (), Role.SIZE)
    assert hoist((D_U, times(D_NEXT, Pow(size, -1))), lasting=[D_U]) == ["d_u = d_u_next / hidden"]


def test_what_is_not_linear_is_left_alone() -> None:
    pairs = [(D_U, times(D_NEXT, plus(D_NEXT, A))), (D_V, Pow(D_U, 2)), (D_W, times(A, plus(D_U, D_NEXT)))]
    assert hoist(*pairs, lasting=[D_W, D_V]) == [Text().equation(Equation(*pair, "")) for pair in pairs]


def test_names_that_are_taken_are_left_alone() -> None:
    assert hoist((D_U, times(D_NEXT, A, B)), lasting=[D_U], taken=["du_next_du", "du_next_du_"]) == [
        "du_next_du__ = a * b",
        "d_u = d_u_next * du_next_du__",
    ]


def test_multiples_are_told_across_chains_and_new_names() -> None:
    pairs = [
        (D_U, plus(D_NEXT, value("d_outputs"))),
        (D_V, times(D_U, A)),
        (D_W, D_V),
        (D_X, times(D_W, B)),
        (D_PREV, plus(D_X, D_U)),
    ]
    found = multiples_of_one([Equation(*pair, "") for pair in pairs], [D_PREV, D_V])
    assert {one.name: two.name for one, two in found.items()} == {"d_v": "d_u", "d_w": "d_u", "d_x": "d_v"}


# -- every cell --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ALL)
def test_the_equations_stay_a_graph_that_lacks_nothing(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[tuple[Any, ...], tuple[Equation, ...]]] = []

    def kept(*arguments: Any) -> tuple[Equation, ...]:
        calls.append((arguments, hoist_coefficients(*arguments)))
        return calls[-1][1]

    monkeypatch.setattr(planning, "hoist_coefficients", kept)
    compiled(*ALL[label])
    ((work, dependence, incoming, lasting, taken), equations), *_ = calls
    targets = {each.target for each in equations}
    before = {each.target for each in work}
    free = tuple(each for each in dependence if each not in targets | before)
    Graph("hoisted", free, equations, tuple(each for each in lasting if each not in incoming)).verify()
    assert not {each.name for each in targets - before} & set(taken)
    coefficients = [each for each in equations if each.target not in before]
    assert not [each for each in coefficients if isinstance(each.expression, Value)]
    recurrent = {*incoming, *(each.target for each in work if each.region is Region.LOOP)}
    assert not [each for each in coefficients if not recurrent.isdisjoint(operands_of(each.expression))]
    assert not [each for each in coefficients if each.target.role == Role.ADJOINT or each.description]


@pytest.mark.parametrize("label", ALL)
def test_without_hoisting_the_loop_is_as_derived(label: str) -> None:
    made = compiled(*ALL[label], hoists_coefficients=False)
    derived = {each.target.name for each in (*made.gradient.adjoint.equations, *made.primal.equations)}
    works = made.schedule.backward.work
    assert {each.target.name for work in works for each in work.sources} <= derived


def test_without_hoisting_gates_stand_as_declared() -> None:
    found = schedule_of("lstm", hoists_coefficients=False)
    assert hoisted(found) == []
    (gates,) = (stack for stack in found.forward.stacks if "f" in [slot[-1].name for slot in stack.members])
    assert [slot[-1].name for slot in gates.members] == ["f", "i", "o", "g"]
    assert "d_a_o = d_o * o * (1 - o)" in looped(found)


@pytest.mark.parametrize("label", ["gru", "gru before", "lstm peephole", "slstm", "lstm_layernorm"])
@pytest.mark.parametrize("merges", [True, False])
@pytest.mark.parametrize("hoists", [True, False])
def test_every_choice_computes_the_same(label: str, merges: bool, hoists: bool) -> None:
    made = compiled(*ALL[label], merges_calls=merges, hoists_coefficients=hoists)
    assert pipeline.prove(made).passed


# -- the order of slots ------------------------------------------------------------------------------------------------


def order_of(made: Cell | str, names: Sequence[str], options: Options | None = None, **switches: bool) -> str:
    """The values of these names in the order of a stack."""
    whole = compiled(made, options, **switches)
    rank = slot_rank(whole.gradient, whole.backend.target)
    by_name = {each.target.name: each.target for each in whole.gradient.primal.equations}
    return " ".join(sorted(names, key=lambda name: rank(by_name[name])))


@pytest.mark.parametrize(
    ("made", "options", "names", "expected"),
    [
        ("lstm", {}, "figo", "o i f g"),
        ("lstm", {"peephole": True}, "figo", "o i f g"),
        ("lstm", {"coupled": True}, "fgo", "o f g"),
        ("lstm", {"output_gate": False}, "fig", "i f g"),
        ("lstm", {"input_activation": False}, "fio", "o f i"),  # g leads to tanh(c)
        ("gru", {}, "rzn", "z r n"),
        ("gru", {"reset": "before"}, "rzn", "r z n"),
    ],
)
def test_slots_are_ordered_by_function_and_by_the_adjoint_that_flows_to_them(
    made: str, options: Options, names: str, expected: str
) -> None:
    assert order_of(made, names, options) == expected


def test_declaration_decides_where_nothing_else_does() -> None:
    @cell("alike")
    def alike(eq):
        x, h_prev = eq.input("x"), eq.state("h")
        gates = {name: eq.let(name, sigmoid(eq.affine(name, W=x, U=h_prev))) for name in "qpr"}
        eq.output(eq.next("h", gates["q"] * gates["p"] * gates["r"] * h_prev))

    assert order_of(alike, "pqr") == "q p r"


@pytest.mark.parametrize("label", ALL)
def test_functions_come_in_one_order_whatever_the_target(label: str) -> None:
    whole = compiled(*ALL[label])
    ranks = [slot_rank(whole.gradient, Target("any", hoists_coefficients=hoists)) for hoists in (True, False)]
    targets = [each.target for each in whole.gradient.primal.equations]
    for each in targets:
        assert ranks[0](each)[0] == ranks[1](each)[0]
    by_function: dict[int, list[int]] = {}
    for one in {ranks[0](each) for each in targets}:
        by_function.setdefault(one[0], []).append(one[1])
    assert all(len(set(places)) == len(places) for places in by_function.values())


# -- determinism -------------------------------------------------------------------------------------------------------

PRINT = """
from lstmgen import finding, pipeline, stages
for name in ("lstm", "gru", "slstm", "janet", "lem", "lstm_zoneout"):
    made = pipeline.compile_cell(finding.find_cell(name), finding.find_backend("numpy"), {})
    print(stages.describe(made, "schedule"), stages.describe(made, "source"))
"""


def test_hash_seeds_make_no_difference(shell: Shell) -> None:
    ended = [shell("-c", PRINT, PYTHONHASHSEED=seed) for seed in ("0", "1", "2")]
    assert [each.returncode for each in ended] == [0, 0, 0], ended[0].stderr
    assert len({each.stdout for each in ended}) == 1
