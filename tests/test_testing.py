"""The conformance suite: what it covers, and that it finds what is planted, by the check that is meant to."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lstmgen import api, pipeline, testing
from lstmgen.api import (
    Cell,
    Gradient,
    Loop,
    Move,
    Product,
    Provenance,
    Reduce,
    Schedule,
    cell,
    exp,
    log,
    lower_passes,
    tanh,
    walk,
)
from lstmgen.backends.numpy import NumpyBackend, backend
from lstmgen.calculus import operations as graph_operations
from lstmgen.calculus.rules import VJP
from lstmgen.cells.lstm import lstm
from lstmgen.declare import operations
from lstmgen.declare.builder import Equations
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.declare.operations import Operation
from lstmgen.declare.symbols import Role
from lstmgen.schedule.kernel import Call, Launch, Pack, Statement, views_in
from lstmgen.schedule.plan import schedule
from lstmgen.schedule.target import Target
from lstmgen.testing import (
    BACKEND_CHECKS,
    CELL_CHECKS,
    ConformanceError,
    check_backend,
    check_cell,
    coverage_cells,
    plain_cells,
)

CELLS = (*plain_cells, *coverage_cells)
SOURCE = Path(testing.__file__).with_name("cells.py")


@cache
def gradient_of(each: Cell) -> Gradient:
    return pipeline.compile_cell(each, backend, {}).gradient


# -- what the cells cover ----------------------------------------------------------------------------------------------


def classes_in(expressions: Any) -> set[type]:
    return {type(node) for expression in expressions for node in _nodes(expression)}


def _nodes(expression: Any) -> Any:
    yield expression
    for arg in expression.args:
        yield from _nodes(arg)


def test_the_coverage_cells_hold_every_function_and_every_operation() -> None:
    gradients = [gradient_of(each) for each in coverage_cells]
    declared = classes_in(equation.expression for each in gradients for equation in each.declaration.equations)
    found = declared | classes_in(
        equation.expression for each in gradients for equation in (*each.primal.equations, *each.adjoint.equations)
    )
    expanded = {each.function for each in DEFINITIONS.values() if each.expansion is not None}
    functions = set(DEFINITIONS) - expanded
    assert functions - found == set(), "declare these in lstmgen/testing/cells.py"
    assert set(VJP) - found == set(), "declare what has these rules"
    kinds = [
        each
        for module in (operations, graph_operations)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Operation) and not each.__name__.startswith("_")
    ]
    bases = {base for each in kinds for base in each.__mro__[1:]}
    leaves = {each for each in kinds if each not in bases or each in VJP}
    assert leaves - found == set(), "declare these, too"


def test_the_coverage_cells_use_all_that_a_cell_can_import_and_call() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    homes = {name: getattr(getattr(api, name), "__module__", "") for name in api.__all__}
    for_equations = {name for name, home in homes.items() if home.startswith("lstmgen.declare.")}
    assert for_equations - imported == {"Declaration", "Value"}, "use the others in a coverage cell"
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    methods = {name for name in vars(Equations) if not name.startswith("_")} - {"report"}
    assert methods - called == set(), "call these on eq in a coverage cell"


def test_the_cells_are_legal_without_a_warning_and_have_all_kinds_of_values() -> None:
    roles = set()
    for each in CELLS:
        declaration = each.trace()
        assert declaration.warnings == ()
        values = [*declaration.given, *(parameter.value for parameter in declaration.parameters)]
        values += [*(constant.value for constant in declaration.constants), *declaration.outputs]
        values += [state.previous for state in declaration.states] + [e.target for e in declaration.equations]
        values += [v for e in declaration.equations for v in e.expression.free_symbols]
        roles |= {value.role for value in values}
    named = {value for name, value in vars(Role).items() if not name.startswith("_")}
    assert roles == named - {Role.INTERMEDIATE, Role.ADJOINT}, "those two are lstmgen's own"
    inits = {type(parameter.init) for each in CELLS for parameter in each.trace().parameters}
    assert inits == {api.Uniform, api.Normal, api.Constant, type(None)}


@pytest.mark.parametrize("stacks", [True, False])
def test_their_kernels_hold_every_statement_that_a_back_end_may_meet(stacks: bool) -> None:
    target = Target("any", stacks_products=stacks, merges_calls=stacks, joins_operands=stacks)
    gradients = [gradient_of(each) for each in CELLS]
    kernels = [kernel for each in gradients for kernel in lower_passes(each, schedule(each, target))]
    statements = [each for one in kernels for each in walk(one.body)]
    kinds = {type(each) for each in statements}
    # Made by `buffered`, by `with_launches`, and of stacks and of joined operands.
    never = {Call, Launch, *(() if stacks else (Pack,))}
    assert set(Statement.__args__) - kinds == never
    assert {each.kind for each in statements if isinstance(each, Move)} == {"transpose", "flatten", "unflatten", "copy"}
    assert {each.kind for each in statements if isinstance(each, Reduce)} == {"total", "sum", "max", "first maximum"}
    assert any(each.swaps for each in statements if isinstance(each, Loop))
    views = [view for one in kernels for view in views_in(one.body)]
    assert {view.drop for view in views} == {"", "first", "last"}
    assert {view.step for view in views} == {None, 0, 1}
    assert any(view.start is not None for view in views) is stacks
    assert any(view.part is not None for view in views) is stacks
    assert {each.onto for each in statements if isinstance(each, Product)} == {False, True}
    assert {each.onto for each in statements if isinstance(each, Reduce)} == {False, True}


# -- the suite as a module ---------------------------------------------------------------------------------------------


def test_importing_it_is_cheap_and_needs_no_test_runner() -> None:
    code = "import sys, lstmgen.testing; print(*({'pytest', 'sympy', 'numpy', 'jinja2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_its_names_exist_and_are_documented() -> None:
    assert list(testing.__all__) == sorted(testing.__all__)
    for name in testing.__all__:
        assert getattr(testing, name).__doc__, name
    assert set(testing.__all__) <= set(dir(testing))
    with pytest.raises(AttributeError, match="no_such_name"):
        testing.no_such_name  # noqa: B018


def test_names_of_checks_are_words_and_unknown_ones_are_refused() -> None:
    for names in (BACKEND_CHECKS, CELL_CHECKS):
        assert len(set(names)) == len(names)
        assert all(name.replace(" ", "").isalpha() for name in names)
    for options in ({"only": ["prof"]}, {"skip": ["prof"]}):
        with pytest.raises(ValueError, match=r"no check 'prof'; there are: .*proof"):
            check_backend(backend, **options)
        with pytest.raises(ValueError, match=r"no check 'prof'; there are: .*proof"):
            check_cell("lstm", **options)


# -- back ends ---------------------------------------------------------------------------------------------------------


def test_the_built_in_back_end_passes() -> None:
    check_backend(backend)


class Planted(NumpyBackend):
    """The NumPy back end with its text changed. ``altered`` tells whether there was anything to change."""

    def __init__(self, change: Callable[[str], str] = lambda text: text) -> None:
        self.change = change
        self.altered = False

    def emit(self, gradient: Gradient, schedule: Schedule, provenance: Provenance, module: str) -> Mapping[str, str]:
        files = super().emit(gradient, schedule, provenance, module)
        changed = {name: self.change(text) for name, text in files.items()}
        self.altered |= changed != files
        return changed


COUNT = itertools.count()


class Counting(Planted):
    """Emits something else each time."""

    def __init__(self) -> None:
        super().__init__(lambda text: f"{text}\n# {next(COUNT)}\n")


class Hashing(Planted):
    """Emits what depends on the seed of hashes."""

    def __init__(self) -> None:
        super().__init__(lambda text: f"{text}\n# {hash('a word')}\n")


class Boasting(NumpyBackend):
    """Claims a level of proof that there is not."""

    def levels(self) -> tuple[str, ...]:
        return ("certain",)


counting, hashing, boasting = Counting(), Hashing(), Boasting()


def replaced(old: str, new: str, *, after: str = "") -> Planted:
    """Back end whose modules have this text instead of that, at the first place after a line."""

    def change(text: str) -> str:
        head, mark, tail = text.partition(after) if after else ("", "", text)
        return head + mark + tail.replace(old, new, 1)

    return Planted(change)


def both(*faults: Planted) -> Planted:
    """Back end with several changes, one after the other."""

    def change(text: str) -> str:
        for fault in faults:
            text = fault.change(text)
        return text

    return Planted(change)


def first_line(line: str, function: str = "_forward") -> Planted:
    """Back end whose modules run a line first in one of the functions around the kernels."""

    def change(text: str) -> str:
        head, mark, tail = text.partition(f"\ndef {function}(")
        docstring = tail.index('"""', tail.index('"""') + 3) + 3
        return f"{head}{mark}{tail[:docstring]}\n    {line}{tail[docstring:]}"

    return Planted(change)


FAULTS: dict[str, tuple[NumpyBackend, str, str]] = {
    "a level that there is not": (boasting, "protocol", "'certain'"),
    "no header": (replaced("Generated by lstmgen", "Made"), "files", "do not say 'Generated by lstmgen'"),
    "the folder in the text": (Planted(lambda text: f"{text}\n# {Path.cwd()}\n"), "files", "names the folder"),
    "a wrong sign": (
        replaced("np.add(", "np.subtract(", after="\ndef _backward("),
        "proofs",
        "d_W_h is off by .* against the equations",
    ),
    "a counter in the text": (counting, "equal bytes", "emitted twice, line"),
    "a hash in the text": (hashing, "equal bytes", "in another process, line"),
    "a name that is not exported": (replaced('    "infer",\n', ""), "names and signatures", "__all__ lacks infer"),
    "a start that no cell asked for": (
        replaced("workspace: Workspace | None = None", "workspace: Workspace | None = None, start_: int = 0"),
        "names and signatures",
        "forward takes .*'start_'",
    ),
    "float64 whatever is asked for": (
        replaced("_dtype = _parameters.dtype", "_dtype = np.float64", after="\ndef _forward("),
        "shapes and dtypes",
        "output h is float64 for parameters of float32",
    ),
    "no empties": (
        first_line('if not _d_final[0].size: raise IndexError("no rows")', "_backward"),
        "no steps and no rows",
        "IndexError: no rows",
    ),
    "ones for None": (
        replaced("np.zeros(shape, p.dtype)", "np.ones(shape, p.dtype)"),
        "none means zeros",
        "initial=None: output h is off",
    ),
    "contiguous input alone": (
        first_line("x.view(np.uint8)", "_check_inputs"),
        "any layout",
        "in Fortran order and read-only are refused: ValueError",
    ),
    "an input written to": (first_line("x += 1", "forward"), "arguments stay as they are", "forward .* written to x"),
    "a state written to": (
        first_line("_d_final[0][...] *= 2", "_backward"),
        "arguments stay as they are",
        "backward .* written to d_final.h",
    ),
    "states in the workspace": (
        replaced(".copy()", "", after="    _final = "),
        "results have memory of their own",
        r"final h shares memory with residuals\.",
    ),
    "inferred states in the workspace": (
        # The last of the arrays by step that inference keeps for itself: no residuals, and no argument.
        replaced("return outputs, final\n", "return outputs, State(*_arrays.residuals.values())\n"),
        "results have memory of their own",
        r"inferred final h shares memory with workspace\.",
    ),
    "residuals that are the caller's input": (
        both(
            replaced("    return outputs, final, Res", "    _saved['late'] = x\n    return outputs, final, Res"),
            replaced(
                "p.zeros_like()",
                "p.zeros_like()\n    _end = State(*(s + 0 * residuals._saved['late'].sum() for s in _end))",
            ),
        ),
        "residuals hold",
        "backward again, .*: d_W_f is not finite",
    ),
    "residuals that are the caller's result": (
        replaced(".copy()", "", after="    _final = "),
        "residuals hold",
        r"backward again, .*: d_\w+ is not finite",
    ),
    "residuals that can be written to": (
        replaced("writeable = False", "writeable = True"),
        "residuals hold",
        r"residuals\.\w+ can be written to",
    ),
    "residuals that backward wears out": (
        replaced("    return Gradients(", "    residuals._saved.clear()\n    return Gradients("),
        "residuals hold",
        "KeyError",
    ),
    "rebuilt otherwise than saved": (
        replaced("np.tanh(", "np.sin(", after="\ndef _rebuild("),
        "residual policies agree",
        'residuals="recompute" .*: d_W_f is off by',
    ),
    "any policy": (
        replaced('if residuals not in ("save", "recompute"):', "if False:"),
        "residual policies agree",
        "residuals given 'other': accepted",
    ),
    "recomputing that saves more": (
        replaced(
            "    return outputs, final, Res",
            '    if residuals == "recompute":\n'
            '        _saved = {**_saved, "more": np.zeros(10**6)}\n'
            "    return outputs, final, Res",
        ),
        "residual policies agree",
        'residuals="recompute" leaves [0-9]{7,} bytes',
    ),
    "residuals that do not go stale": (
        replaced("workspace._forwards += 1", "pass"),
        "stale residuals are refused",
        "backward takes residuals",
    ),
    "arrays of any shape from the workspace": (
        replaced("if last is None or last[0] != key or last[1] is not read:", "if last is None:"),
        "workspaces can be used again",
        r"call \d+ on one workspace|broadcast|shape",
    ),
    "arrays of any policy from the workspace": (
        replaced("last[0] != key or last[1] is not read:", "last[0] != key:"),
        "workspaces can be used again",
        r"call \d+ on one workspace \(as the first, 'save'\): d_U_o|KeyError",
    ),
    "one scratch for all": (
        Planted(
            lambda text: (
                text.replace("return make(p, steps, batch, False, read)", "workspace = _SHARED")
                + "\n_SHARED = Workspace()\n"
            )
        ),
        "two threads",
        "while another thread calls the module: ",
    ),
    "rows that mix": (
        first_line("x = x + 0 * x.mean(axis=1, keepdims=True)", "forward"),
        "rows do not mix",
        "h is not finite",
    ),
    "an exponential that overflows": (
        first_line("np.exp(np.abs(x))", "forward"),
        "saturated gates",
        "±1000: float32 code: FloatingPointError: overflow",
    ),
    "parameters in another order": (
        replaced('"W_f", "W_g", "W_o",', '"W_g", "W_f", "W_o",'),
        "parameters are one buffer",
        "names are",
    ),
    "copies that share": (
        replaced("Parameters(self._flat.copy(), self.sizes)", "Parameters(self._flat, self.sizes)"),
        "parameters survive copying",
        "copy.deepcopy shares the buffer",
    ),
    "start values of its own": (
        replaced("default_rng(seed)", "default_rng((seed or 0) + 1)"),
        "start values",
        "other values than in the NumPy back end",
    ),
    "any dtype": (
        replaced("if array.dtype != dtype:", "if False:"),
        "wrong arguments are refused",
        "forward: x given an array of float16: accepted",
    ),
    "a message without the name": (
        replaced('f"{argument}: expected shape', 'f"expected shape'),
        "wrong arguments are refused",
        "the message does not say",
    ),
    "any residuals": (
        replaced("if not isinstance(residuals, Residuals):", "if False:"),
        "wrong residuals and workspaces are refused",
        "residuals given None: raises AttributeError",
    ),
    "any number of features": (
        replaced("if size < 1:", "if size < 1 and name != 'features':"),
        "wrong parameters are refused",
        "features given 0: accepted",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_by_the_check_that_is_meant_to(fault: str) -> None:
    planted, check, says = FAULTS[fault]
    try:
        check_backend(planted, only=[check], cells=plain_cells)
    except ConformanceError as error:
        found = error.findings
    else:
        assert getattr(planted, "altered", True), "what the fault changes is not emitted any more"
        pytest.fail(f"{check} finds nothing")
    assert {each.check for each in found} == {check}
    assert any(re.search(says, each.message) for each in found), found


def test_every_check_of_a_back_end_finds_something_here() -> None:
    assert {check for _, check, _ in FAULTS.values()} == set(BACKEND_CHECKS)


def test_all_findings_are_told_at_once_and_many_of_one_kind_are_counted() -> None:
    planted = Planted(lambda text: text.replace("if array.dtype != dtype:", "if False:").replace("'seed'", ""))
    with pytest.raises(ConformanceError) as caught:
        check_backend(boasting, only=["protocol", "names and signatures"])
    assert str(caught.value).startswith("back end 'numpy' fails 1 of 2 checks:\n\n  protocol (levels): ('certain',)")
    with pytest.raises(ConformanceError, match=r"wrong arguments are refused \(gated\): and \d+ more"):
        check_backend(planted, only=["wrong arguments are refused"])


def test_a_back_end_that_stops_is_a_finding_and_not_an_error() -> None:
    with pytest.raises(ConformanceError, match=r"stopped by SyntaxError: .* \(at "):
        check_backend(replaced("def forward(", "def forward(("), only=["shapes and dtypes"])
    with pytest.raises(ConformanceError, match="there is no target"):
        check_backend(object(), only=["protocol"])  # type: ignore[arg-type]


def test_a_back_end_without_a_name_in_its_module_is_told_so() -> None:
    with pytest.raises(ConformanceError, match="another process cannot find it"):
        check_backend(Planted(), only=["equal bytes"], cells=plain_cells)


# -- cells -------------------------------------------------------------------------------------------------------------


@cell("overflowing")
def overflowing(eq):
    """An exponential of whatever comes in."""
    x, h_prev = eq.input("x", "hidden"), eq.state("h")
    e = eq.let("e", exp(x))
    h = eq.next("h", tanh(0.5 * h_prev + e))
    eq.output(h)


@cell("wavering")
def wavering(eq):
    """Another constant in every process."""
    x, h_prev = eq.input("x", "hidden"), eq.state("h")
    h = eq.next("h", tanh(hash("a word") % 1000 * h_prev + x))
    eq.output(h)


@cell("counting")
def counting_cell(eq):
    """Another constant each time."""
    x, h_prev = eq.input("x", "hidden"), eq.state("h")
    h = eq.next("h", tanh(next(COUNT) * h_prev + x))
    eq.output(h)


@cell("suspicious")
def suspicious(eq):
    """Legal, but probably not what was meant."""
    x, h_prev, c_prev = eq.input("x", "hidden"), eq.state("h"), eq.state("c")
    eq.next("h", tanh(c_prev + x))
    c = eq.next("c", h_prev)
    eq.output(c)


@cell("mistaken")
def mistaken(eq):
    """Two mistakes."""
    x = eq.input("x")
    h_prev = eq.state("h")
    eq.let("unused", tanh(x))
    eq.output(h_prev)


@cell("undefined")
def undefined(eq):
    """Defined nowhere."""
    x, h_prev = eq.input("x", "hidden"), eq.state("h")
    h = eq.next("h", tanh(h_prev) + log(-1 - x**2))
    eq.output(h)


def test_a_built_in_cell_passes_as_an_object_by_name_and_with_options() -> None:
    check_cell("lstm")
    check_cell(lstm, peephole=True, skip=["equal bytes", "written file"])


@pytest.mark.parametrize(
    ("faulty", "check", "says"),
    [
        (suspicious, "declaration", "warning LG118"),
        (mistaken, "declaration", "error LG103"),
        (undefined, "proof", "LG303"),
        (wavering, "equal bytes", "in another process, the digest"),
        (counting_cell, "equal bytes", "compiled twice, the digest"),
        (overflowing, "saturation", r"±1000 \(x\): e = exp\(x\) reaches inf at step 0, beyond float32"),
    ],
)
def test_a_faulty_cell_is_found_by_the_check_that_is_meant_to(faulty: Cell, check: str, says: str) -> None:
    with pytest.raises(ConformanceError, match=says) as caught:
        check_cell(faulty, only=[check])
    assert {each.check for each in caught.value.findings} == {check}


def test_mistakes_of_a_declaration_are_all_that_is_told() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_cell(mistaken)
    assert {each.check for each in caught.value.findings} == {"declaration"}
    assert len(caught.value.findings) > 1


def test_a_cell_in_a_file_and_one_in_a_function(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE, encoding="utf-8")
    check_cell(str(file), only=["equal bytes", "written file"])

    @cell("inner")
    def inner(eq):
        """Seen by nobody else."""
        h = eq.next("h", tanh(eq.input("x", "hidden") + eq.state("h")))
        eq.output(h)

    with pytest.raises(ConformanceError, match="another process cannot find it"):
        check_cell(inner, only=["equal bytes"])


def test_inputs_may_be_said_to_be_small() -> None:
    check_cell(overflowing, saturation=10.0, only=["saturation"])
    check_cell(overflowing, saturation={"x": 10.0}, only=["saturation"])


MINE = """
from lstmgen.api import cell, tanh


@cell("mine")
def mine(eq):
    \"\"\"A cell of somebody's own.\"\"\"
    h = eq.next("h", tanh(eq.affine("h", W=eq.input("x"), U=eq.state("h"))))
    eq.output(h)
"""
