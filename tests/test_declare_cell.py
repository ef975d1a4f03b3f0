"""Cells: what their functions may look like, their options, and what a trace of them yields."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from typing import Any, Literal

import pytest
from sympy import Symbol
from sympy.core.parameters import global_parameters

import lstmgen
from lstmgen.api import Cell, Constant, Normal, Uniform, cell, sigmoid, softplus, tanh
from lstmgen.cells.lstm import lstm
from lstmgen.cells.ugrnn import ugrnn
from lstmgen.declare.declaration import Declaration, Equation, Parameter
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import DeclarationError, DeclarationWarning, UserError


@cell("tried", reference="Somebody, 1997")
def tried(
    eq: Any,
    *,
    peephole: bool = False,
    depth: int = 1,
    leak: float = 0.5,
    gate: Literal["sigmoid", "tanh"] = "sigmoid",
    power: Literal[1, 2] = 2,
    label: str = "h",
    other: object = None,
) -> None:
    """A cell with an option of every kind.

    And a docstring of several lines.
    """
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.affine("a", W=x, U=h_prev, bias=None if peephole else "b")
    for index in range(depth):
        a = eq.let(f"a{index}", a**power, f"power {index}")
    squash = {"sigmoid": sigmoid, "tanh": tanh}[gate]
    eq.output(eq.next("h", leak * h_prev + squash(a), label))


# -- functions --------------------------------------------------------------------------------------------------------


def accepts(*names: str) -> Callable[..., None]:
    """A function with these parameters, as text."""
    namespace: dict[str, Any] = {}
    exec(f"def f({', '.join(names)}): eq.output(eq.next('h', eq.state('h') * eq.input('x', 'hidden')))", namespace)
    made: Callable[..., None] = namespace["f"]
    return made


async def asynchronous(eq: Any) -> None: ...


def generator(eq: Any) -> Any:
    yield eq


class Another:
    def __call__(self, eq: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (accepts("eq", "depth=1"), "option 'depth' of cell 'tried' must be keyword-only with a default"),
        (accepts("eq", "depth"), "'depth'"),
        (accepts("eq", "*", "depth"), "'depth'"),
        (accepts("eq", "*depth"), "'depth'"),
        (accepts("eq", "**depth"), "'depth'"),
        (accepts(), "takes no eq"),
        (accepts("*", "eq=1"), "takes no eq"),
        (accepts("**eq"), "takes no eq"),
        (functools.partial(accepts("eq")), "no plain function"),
        (Another(), "no plain function"),
        (Another, "no plain function"),
        (print, "no plain function"),
        (asynchronous, "no plain function"),
        (generator, "no plain function"),
        (3, "no plain function"),
        (None, "no plain function"),
    ],
)
def test_functions_that_make_no_cell(function: Any, says: str) -> None:
    with pytest.raises(UserError) as caught:
        cell("tried")(function)
    assert (caught.value.code, bool(caught.value.hint)) == ("LG113", True)
    assert says in str(caught.value)


@pytest.mark.parametrize("names", [("eq",), ("eq", "*", "depth=1"), ("eq", "/"), ("e", "*", "eq=1", "d=2")])
def test_functions_that_make_a_cell(names: tuple[str, ...]) -> None:
    made = cell("tried")(accepts(*names))
    assert isinstance(made, Cell)
    assert [option.name for option in made.options] == [name.partition("=")[0] for name in names if "=" in name]


@pytest.mark.parametrize("name", ["", "a-b", "_a", "2d", "a b", "é", None, 3, Another])
def test_names_that_no_cell_may_have(name: Any) -> None:
    with pytest.raises(DeclarationError) as caught:
        cell(name)
    assert caught.value.code == "LG109" and '@cell("lstm")' in caught.value.hint
    (found,) = caught.value.diagnostics
    assert found.message == f"{name!r} cannot name a cell" and found.source == "cell(name)"


def test_a_cell_that_nobody_named() -> None:
    with pytest.raises(DeclarationError) as caught:

        @cell  # type: ignore[arg-type]
        def mine(eq: Any) -> None: ...

    (found,) = caught.value.diagnostics
    assert (found.code, found.message, found.hint) == ("LG109", "@cell needs a name", 'write @cell("mine")')
    assert found.source == "def mine(eq: Any) -> None: ..."


def test_a_wrong_function_is_told_at_its_line() -> None:
    with pytest.raises(DeclarationError) as caught:

        @cell("tried")
        @functools.cache
        def bare(eq: Any, depth: int) -> None: ...

    (found,) = caught.value.diagnostics
    assert found.place and found.place.file == __file__
    assert (found.code, found.source) == ("LG113", "def bare(eq: Any, depth: int) -> None: ...")


def test_a_decorated_function() -> None:
    """Options and lines are those of the function inside."""

    @functools.wraps(tried.function)
    def around(*args: Any, **kwargs: Any) -> None:
        tried.function(*args, **kwargs)

    made = cell("around")(around)
    assert made.options == tried.options
    assert made.trace().equations == tried.trace().equations


# -- options ----------------------------------------------------------------------------------------------------------


def option(name: str) -> Any:
    (found,) = (each for each in tried.options if each.name == name)
    return found


def test_options_and_their_defaults() -> None:
    assert [(each.name, each.default) for each in tried.options] == [
        ("peephole", False),
        ("depth", 1),
        ("leak", 0.5),
        ("gate", "sigmoid"),
        ("power", 2),
        ("label", "h"),
        ("other", None),
    ]
    assert option("gate").choices == ("sigmoid", "tanh")
    assert option("power").choices == (1, 2)
    assert option("label").choices == ()
    assert ugrnn.options == ()


@pytest.mark.parametrize(
    ("name", "text", "parsed"),
    [
        ("peephole", "true", True),
        ("peephole", "YES", True),
        ("peephole", "1", True),
        ("peephole", "False", False),
        ("peephole", "no", False),
        ("peephole", "0", False),
        ("depth", "3", 3),
        ("depth", "-3", -3),
        ("leak", "1", 1.0),
        ("leak", "1e-3", 1e-3),
        ("gate", "tanh", "tanh"),
        ("power", "1", 1),
        ("label", "1", "1"),
        ("other", "text", "text"),
    ],
)
def test_options_from_the_command_line(name: str, text: str, parsed: object) -> None:
    found = option(name).parse(text)
    assert found == parsed and type(found) is type(parsed)
    assert dict(tried.settings({name: found}))[name] == parsed


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("peephole", "maybe", "it takes true or false"),
        ("peephole", "", "it takes true or false"),
        ("depth", "1.0", "it takes a whole number"),
        ("depth", "two", "it takes a whole number"),
        ("leak", "half", "it takes a number"),
        ("gate", "relu", "it takes one of sigmoid, tanh"),
        ("power", "3", "it takes one of 1, 2"),
    ],
)
def test_bad_options_from_the_command_line(name: str, text: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"option {name} cannot be '?{text}") as caught:
        option(name).parse(text)
    assert (caught.value.code, caught.value.hint) == ("LG113", hint)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("peephole", 1),
        ("peephole", "true"),
        ("peephole", None),
        ("depth", True),
        ("depth", 1.0),
        ("leak", True),
        ("leak", "0.5"),
        ("gate", "relu"),
        ("gate", None),
        ("power", 3),
        ("power", True),  # which equals 1, and is none of the choices
        ("power", 2.0),
        ("label", 1),
    ],
)
def test_bad_options_from_python(name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"option {name} cannot be") as caught:
        tried.trace(**{name: value})
    assert caught.value.code == "LG113" and caught.value.hint.startswith("it takes ")


def test_numbers_for_a_float_option_become_floats() -> None:
    """Else equal options would have digests of their own."""
    assert tried.settings({"leak": 1}) == tried.settings({"leak": 1.0})
    assert type(dict(tried.settings({"leak": 1}))["leak"]) is float


@pytest.mark.parametrize(
    ("made", "name", "hint"),
    [
        (tried, "peepholes", "did you mean 'peephole'?"),
        (tried, "xyz", "it has peephole, depth, leak, gate, power, label, other"),
        (lstm, "peepholes", "did you mean 'peephole'?"),
        (ugrnn, "peephole", "it has none"),
        (tried, "self", "did you mean"),
    ],
)
def test_unknown_options(made: Cell, name: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"has no option '{name}'") as caught:
        made.trace(**{name: True})
    assert caught.value.code == "LG113" and (hint in caught.value.hint or name == "self")


def test_a_default_must_be_one_of_its_choices() -> None:
    with pytest.raises(DeclarationError, match="option gate cannot be 'relu'") as caught:

        @cell("odd")
        def odd(eq: Any, *, gate: Literal["sigmoid", "tanh"] = "relu") -> None: ...  # type: ignore[assignment]

    (found,) = caught.value.diagnostics
    assert (found.code, found.hint) == ("LG113", "it takes one of sigmoid, tanh")
    assert found.source.startswith("def odd(")


def test_an_annotation_that_means_nothing_is_no_matter() -> None:
    @cell("odd")
    def odd(eq: Any, *, gate: NotDefined = "relu") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert odd.options[0].parse("tanh") == "tanh"


def test_options_reach_the_equations() -> None:
    plain, deep = tried.trace(), tried.trace(depth=3, peephole=True, gate="tanh", leak=2)
    assert [each.target.name for each in plain.equations] == ["a_a", "a0", "h"]
    assert [each.target.name for each in deep.equations] == ["a_a", "a0", "a1", "a2", "h"]
    assert [each.value.name for each in plain.parameters] == ["W_a", "U_a", "b_a"]
    assert [each.value.name for each in deep.parameters] == ["W_a", "U_a"]
    assert str(plain.equations[-1].expression) == "0.5*h_prev + sigmoid(a0)"
    assert str(deep.equations[-1].expression) == "2*h_prev + tanh(a2)"
    assert plain.changed_options == ()
    assert deep.changed_options == (("peephole", True), ("depth", 3), ("leak", 2.0), ("gate", "tanh"))
    assert deep.options == (*deep.changed_options, ("power", 2), ("label", "h"), ("other", None))
    assert deep.defaults == plain.options


# -- traces -----------------------------------------------------------------------------------------------------------


def test_the_lstm() -> None:
    found = lstm.trace()
    assert isinstance(found, Declaration)
    assert found.name == "lstm" and found.doc.startswith("Long short-term memory with a forget gate.\n")
    assert found.reference.startswith("Gers")
    assert found.inputs == (Value("x", ("features",), Role.INPUT),)
    assert [(state.name, state.previous.name, state.next.dims) for state in found.states] == [
        ("h", "h_prev", ("hidden",)),
        ("c", "c_prev", ("hidden",)),
    ]
    assert [each.target.name for each in found.equations] == ["a_f", "f", "a_i", "i", "a_g", "g", "c", "a_o", "o", "h"]
    assert {each.target.role for each in found.equations} == {Role.VALUE, Role.PREACTIVATION}
    by_name = {each.target.name: each for each in found.equations}
    # as declared; SymPy would write c_prev*f + g*i
    assert [[str(each) for each in term.args] for term in by_name["c"].expression.args] == [["f", "c_prev"], ["i", "g"]]
    assert by_name["f"].description == "forget gate"
    assert by_name["a_f"].description == "pre-activation of f"
    assert [str(term) for term in by_name["a_f"].expression.args] == ["Matmul(W_f, x)", "Matmul(U_f, h_prev)", "b_f"]
    assert [(each.value.name, each.value.dims) for each in found.parameters[:3]] == [
        ("W_f", ("hidden", "features")),
        ("U_f", ("hidden", "hidden")),
        ("b_f", ("hidden",)),
    ]
    assert found.outputs == (found.states[0].next,)
    assert found.warnings == ()


def test_equations_know_their_lines() -> None:
    source, first = inspect.getsourcelines(ugrnn.function)
    for each in ugrnn.trace().equations:
        assert each.place and each.place.file == ugrnn.function.__code__.co_filename
        assert f'"{each.target.name.removeprefix("a_")}"' in source[each.place.line - first]


def test_a_trace_cannot_be_changed() -> None:
    found = lstm.trace()
    with pytest.raises(FrozenInstanceError):
        found.name = "other"  # type: ignore[misc]
    hash(found.equations[0]), hash(found.parameters)


def test_parameters_keep_how_they_start() -> None:
    @cell("starts")
    def starts(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        g = eq.parameter("g", init=1, description="gain")
        s = eq.parameter("s", "hidden", init=Normal(0.1))
        a = eq.affine("a", to="hidden", bias="bias", bias_init=Uniform(2), V=x)
        k = eq.parameter("k", "hidden", init=Constant(-1))
        eq.output(eq.next("h", h_prev * softplus(g * a + s) * k))

    parameters = {each.value.name: each for each in starts.trace().parameters}
    assert list(parameters) == ["g", "s", "V_a", "bias_a", "k"]
    assert parameters["g"] == Parameter(Value("g", (), Role.PARAMETER), Constant(1.0), "gain")
    assert [each.init for each in parameters.values()] == [
        Constant(1.0),
        Normal(0.1),
        None,
        Uniform(2.0),
        Constant(-1.0),
    ]
    # 1 and 1.0 are one start value, and one text
    assert repr(parameters["bias_a"].init) == "Uniform(bound=2.0)"


def test_roles_and_sizes() -> None:
    @cell("roles")
    def roles(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        f = eq.let("f", sigmoid(eq.affine("f", W=x)), "forget gate", role="gate")
        eq.output(eq.next("h", f * h_prev / eq.size("hidden")), f)

    found = roles.trace()
    assert [each.role for each in found.outputs] == [Role.VALUE, "gate"]
    assert Value("hidden", (), Role.SIZE) in found.equations[-1].expression.free_symbols


def test_a_value_of_parameters_alone_may_repeat_a_dimension() -> None:
    @cell("skew")
    def skew(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        u = eq.parameter("U", "hidden", "hidden")
        s = eq.let("S", u - u.T)
        t = eq.let("T", 2 * s)
        eq.output(eq.next("h", t @ h_prev + eq.affine("a", W=x)))

    dims = {each.target.name: each.target.dims for each in skew.trace().equations}
    assert dims["S"] == dims["T"] == ("hidden", "hidden")


@pytest.mark.parametrize("made", [lstm, tried], ids=lambda each: each.name)
def test_two_traces_are_equal(made: Cell) -> None:
    first, second = made.trace(), made.trace()
    assert first == second and first is not second
    assert repr(first) == repr(second)


def test_tracing_in_threads() -> None:
    """Eight at once, of different cells, each as it is alone."""
    settings: list[dict[str, Any]] = [{"depth": depth} for depth in range(1, 4)]
    alone = [lstm.trace(), *(tried.trace(**each) for each in settings)]
    start = threading.Barrier(8)

    def trace(index: int) -> list[Declaration]:
        start.wait()
        return [lstm.trace() if (index + k) % 2 else tried.trace(**settings[k % 3]) for k in range(6)]

    with ThreadPoolExecutor(8) as pool:
        for index, found in enumerate(pool.map(trace, range(8))):
            expected = [alone[0] if (index + k) % 2 else alone[1 + k % 3] for k in range(6)]
            assert found == expected


def test_a_cell_may_be_traced_within_another() -> None:
    inside: list[Declaration] = []

    @cell("outer")
    def outer_cell(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        w = eq.parameter("W", "hidden", "features")
        inside.append(lstm.trace())
        eq.output(eq.next("h", (2 * w) @ (2 * x) + h_prev))  # composite operators are still there

    assert outer_cell.trace().equations[-1].target.dims == ("hidden",)
    assert inside == [lstm.trace()]


def test_a_trace_leaves_sympy_as_it_was() -> None:
    @cell("stops")
    def stops(eq: Any) -> None:
        raise RuntimeError("half-way")

    a = Symbol("a")
    for _ in range(2):
        lstm.trace()
        with pytest.raises(DeclarationError, match="half-way"):
            stops.trace()
        assert global_parameters.evaluate
        assert str(a + a) == "2*a" and str(a * a) == "a**2"


def test_declarations_compare_by_content() -> None:
    def variant(factor: float) -> tuple[Equation, ...]:
        @cell("variant")
        def made(eq: Any) -> None:
            eq.output(eq.next("h", factor * eq.state("h") * eq.input("x", "hidden")))

        return made.trace().equations

    assert variant(2) == variant(2.0) != variant(3)


def test_a_suspicion_reaches_programs_as_a_warning() -> None:
    """The command line prints it; a program that loads or derives is warned."""

    @cell("suspicious")
    def suspicious(eq: Any) -> None:
        x, h_prev, c_prev = eq.input("x", "hidden"), eq.state("h"), eq.state("c")
        eq.next("c", 0.5 * c_prev + x)
        eq.output(eq.next("h", 0.5 * h_prev + c_prev))

    for use in (lstmgen.load, lstmgen.derive):
        with pytest.warns(DeclarationWarning, match="LG118"):
            use(suspicious)
