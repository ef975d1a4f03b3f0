"""The built-in cells, each with every value of its options: proof, saturation, and what their files say."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmgen
from lstmgen import pipeline, plugins
from lstmgen.api import cell, exp, layer_norm, sigmoid, softmax, tanh
from lstmgen.backends.numpy import backend
from lstmgen.declare.cell import Cell
from lstmgen.finding import find_cell

ROOT = Path(__file__).resolve().parent.parent
NAMES = tuple(plugin.name for plugin in plugins.available("cells") if plugin.target.startswith("lstmgen.cells."))


def variants(name: str) -> list[dict[str, Any]]:
    """The defaults, then every other value of every option by itself."""
    found: list[dict[str, Any]] = [{}]
    for option in find_cell(name).options:
        values = option.choices or ((not option.default,) if isinstance(option.default, bool) else ())
        found += [{option.name: value} for value in values if value != option.default]
    return found


MORE: list[tuple[str, dict[str, Any]]] = [
    ("lstm", {"peephole": True, "coupled": True}),
    ("lstm", {"peephole": True, "full_gate_recurrence": True}),
    ("lstm", {"input_gate": False, "forget_gate": False, "output_gate": False, "peephole": True}),
    ("mgu", {"reset": "after", "mirrored": True}),
    ("mogrifier_lstm", {"rounds": 0}),
    ("mogrifier_lstm", {"rounds": 2}),
    ("lmu", {"order": 1, "theta": 4.0}),
    ("janet", {"beta": 0.0}),
    ("sru", {"alpha": 1.5}),
    ("antisymmetric_rnn", {"gated": True, "gamma": 0.1}),
]
"""Values that belong together, and numbers."""

CASES = {
    " ".join([name, *(f"{key}={value}" for key, value in options.items())]): (name, options)
    for name, options in [*((name, options) for name in NAMES for options in variants(name)), *MORE]
}
ALL = pytest.mark.parametrize("label", CASES)


@cache
def compiled(label: str) -> pipeline.Compiled:
    name, options = CASES[label]
    return pipeline.compile_cell(find_cell(name), backend, options)


def test_there_are_enough() -> None:
    assert len(NAMES) >= 25


@ALL
def test_proof(label: str) -> None:
    assert compiled(label).declaration.warnings == ()
    assert pipeline.prove(compiled(label)).passed


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_says_what_it_is(name: str) -> None:
    """A sentence that names it, a publication with a year, every option explained, every state described."""
    made = find_cell(name)
    source = (ROOT / "lstmgen/cells" / f"{name}.py").read_text(encoding="utf-8")
    assert made.name == name and source.count("@cell(") == 1, "one file, one cell, one name"
    assert re.search(r"\b(19|20)\d\d\b", made.reference)
    assert made.doc.splitlines()[0].endswith(".")
    for option in made.options:
        assert f"`{option.name}`" in made.doc, option.name
    described = {each.target.name for each in compiled(name).declaration.equations if each.description}
    assert {state.name for state in compiled(name).declaration.states} <= described


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_and_its_generated_module_are_one_page_and_current(name: str) -> None:
    assert (ROOT / f"generated/{name}_numpy.py").read_text(encoding="utf-8") == compiled(name).source
    assert len((ROOT / f"lstmgen/cells/{name}.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_nothing_behind_the_declaration_names_a_cell() -> None:
    words = {*NAMES} - {"star", "ran"} | {"LSTM", "GRU", "forget", "gate"}
    for folder in ("calculus", "schedule", "backends"):
        for path in (ROOT / "lstmgen" / folder).rglob("*.py"):
            code = re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            assert not words & set(re.findall(r"\w+", code)), path


# -- saturation --------------------------------------------------------------------------------------------------------


def _run(module: Any, p: Any, inputs: list[Any], seed: int = 5) -> list[Any]:
    """Outputs and all gradients of 200 steps."""
    outputs, _, residuals = module.forward(p, *(array.astype(p.dtype) for array in inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    random = np.random.default_rng(seed)
    seeds = [random.standard_normal(array.shape).astype(p.dtype) for array in outputs]
    found = module.backward(p, residuals, module.Outputs(*seeds) if len(seeds) > 1 else seeds[0])
    return [np.concatenate([array.ravel() for array in outputs]), found.parameters.flat, *found.inputs, *found.initial]


@ALL
def test_float32_at_saturation(label: str) -> None:
    """Inputs of ±1000 over 200 steps: nothing overflows or warns, and float32 agrees with float64.

    It may be off as far as the rounding of the parameters alone moves the float64 results: a cell that is not
    contracting amplifies any rounding.
    """
    made = compiled(label)
    module = backend.load(made.source, f"saturated_{made.module}")
    sizes = {name: 4 + k for k, name in enumerate(module.Sizes._fields)}
    random = np.random.default_rng(0)
    wide = module.Parameters.initialize(**sizes, dtype=np.float64, seed=1)
    single = module.Parameters(wide.flat.astype(np.float32), wide.sizes)
    wide.flat[:] = single.flat
    special = {"keep_h": (0.0, 1.0), "keep_c": (0.0, 1.0), "mask": (0.0, 1.0), "ts": (0.0, 1000.0)}
    inputs = [
        random.choice(special.get(value.name, (-1000.0, 1000.0)), (200, 3, *(getattr(wide, dim) for dim in value.dims)))
        for value in made.declaration.inputs
    ]
    with np.errstate(all="raise", under="ignore"):
        found, expected = _run(module, single, inputs), _run(module, wide, inputs)
    assert all(np.isfinite(array).all() and array.dtype == np.float32 for array in found)
    moved = module.Parameters(wide.flat * (1 + 1e-7 * random.standard_normal(wide.flat.shape)), wide.sizes)
    scale = max(np.abs(array).max() for array in expected)
    amplified = max(np.abs(a - b).max() for a, b in zip(_run(module, moved, inputs), expected, strict=True)) / scale
    error = max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True)) / scale
    assert error <= max(2e-4, 30 * amplified), (
        f"off by {error:.1e}; rounding parameters moves results by {amplified:.1e}"
    )


# -- cells that exist nowhere ------------------------------------------------------------------------------------------


@cell("rivals")
def rivals(eq: Any) -> None:
    """Two memories that feed each other, the faster of which is shared out among the units."""
    x, u_prev, v_prev = eq.input("x"), eq.state("u"), eq.state("v")
    share = eq.let("share", softmax(eq.affine("share", W=x, U=u_prev, V=v_prev)), "each unit's share")
    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=v_prev)), "what the slow memory keeps")
    u = eq.next("u", share * tanh(eq.affine("u", W=x, U=u_prev)) + (1 - share) * v_prev, "fast memory")
    v = eq.next("v", f * v_prev + (1 - f) * u, "slow memory")
    eq.output(eq.let("y", u * exp(-(v**2)), "output"))


@cell("thin")
def thin(eq: Any) -> None:
    """A recurrence of low rank whose mixture is normalised."""
    x, h_prev = eq.input("x"), eq.state("h")
    down, up = eq.parameter("D", "rank", "hidden"), eq.parameter("U", "hidden", "rank")
    z = eq.let("z", sigmoid(eq.affine("z", W=x, diagonal={"v": h_prev})), "update gate")
    n = eq.let("n", tanh(layer_norm(eq.affine("n", W=x) + up @ (down @ h_prev))), "candidate")
    eq.output(eq.next("h", z * h_prev + (1 - z) * n, "hidden state"))


@pytest.mark.parametrize("made", [rivals, thin], ids=lambda each: each.name)
def test_an_invented_cell_is_proven_untouched(made: Cell, tmp_path: Path) -> None:
    import inspect

    assert len(inspect.getsource(made.function).splitlines()) <= 15
    assert lstmgen.build(made, out=tmp_path).passed
